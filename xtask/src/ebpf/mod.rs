//! `cargo xtask ebpf`: the committed BPF objects.

pub(crate) mod manifest;
mod toolchain;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::command::{as_root, check, root, target_dir};
use crate::test::libtest;
use manifest::{Manifest, PRODUCT};
use toolchain::Toolchain;

/// Rebuilds the objects, or with `check` compares them with what the sources give.
///
/// # Errors
/// Where there is no toolchain, a build fails, or an object is not what the sources give.
pub(crate) fn run(only_check: bool) -> Result<()> {
    let toolchain = Toolchain::find()?;
    for name in names()? {
        let object = toolchain.build(&name)?;
        if only_check {
            compare(&name, &object, &toolchain)?;
        } else {
            let manifest = Manifest::describe(root(), &name, &object, &toolchain.name)?;
            manifest.store(root(), &name, &object)?;
            eprintln!("{name}: {} bytes", object.len());
        }
    }
    Ok(())
}

/// The product, and what lies in `sensor-ebpf/src/bin/`.
fn names() -> Result<Vec<String>> {
    let mut names = vec![PRODUCT.to_owned()];
    for entry in root().join("sensor-ebpf/src/bin").read_dir()? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names[1..].sort();
    Ok(names)
}

fn compare(name: &str, object: &[u8], toolchain: &Toolchain) -> Result<()> {
    let stored = Manifest::load(root(), name)
        .with_context(|| format!("no manifest of {name}: run `cargo xtask ebpf`"))?;
    let fresh = Manifest::describe(root(), name, object, &toolchain.name)?;
    let committed = std::fs::read(Manifest::object_path(root(), name))?;
    if manifest::sha256(&committed) != stored.object {
        bail!("{name}: the committed object is not the manifest's: run `cargo xtask ebpf`");
    }
    if fresh.sources != stored.sources || fresh.abi != stored.abi {
        bail!("{name}: the sources have changed since it was built: run `cargo xtask ebpf`");
    }
    if fresh.toolchain == stored.toolchain {
        if committed != object {
            let kept = keep(name, object)?;
            bail!("{name}: the same toolchain gives other bytes, kept in {kept}");
        }
        eprintln!("{name}: identical, {} bytes", object.len());
        return Ok(());
    }
    eprintln!(
        "{name}: not comparable\n  committed: {}\n  here:      {}",
        stored.toolchain, fresh.toolchain
    );
    if name == PRODUCT {
        let kept = keep(name, object)?;
        verify(Path::new(&kept)).with_context(|| {
            format!("{name}: what this toolchain builds, {kept}, was not shown to work")
        })?;
        eprintln!("{name}: built here, it loads and passes the verdict suite");
    }
    Ok(())
}

/// Puts an object where a person or a test can look at it.
fn keep(name: &str, object: &[u8]) -> Result<String> {
    let path = target_dir().join("bpf").join(format!("{name}.check.o"));
    std::fs::write(&path, object)?;
    Ok(path.display().to_string())
}

/// Runs the verdict suite, as root, on another object than the committed one.
fn verify(object: &Path) -> Result<()> {
    let suite = libtest::build()?.integration;
    let environment = [("SENSOR_BPF_OBJECT", object.as_os_str())];
    let mut command = as_root(suite, &environment)?;
    check(command.current_dir(root().join("tests")).arg("kernel::"))
}
