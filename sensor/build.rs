//! Refuses to embed a BPF object that is not what the sources give.

use std::path::Path;

#[path = "../xtask/src/ebpf/manifest.rs"]
#[expect(dead_code, reason = "storing is for xtask")]
mod manifest;

use manifest::{Manifest, PRODUCT};

const REMEDY: &str = "run `cargo xtask ebpf` and commit what it writes";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if let Err(problem) = verify(&root) {
        println!("cargo::error={problem}: {REMEDY}");
    }
}

/// Compares object, manifest and sources.
fn verify(root: &Path) -> Result<(), String> {
    for path in [
        "sensor-ebpf/src",
        "sensor-ebpf/Cargo.toml",
        "sensor-ebpf/prebuilt",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    let stored = Manifest::load(root, PRODUCT)
        .map_err(|error| format!("the BPF object has no readable manifest ({error})"))?;
    let path = Manifest::object_path(root, PRODUCT);
    let object = std::fs::read(&path)
        .map_err(|error| format!("cannot read {} ({error})", path.display()))?;
    let present = Manifest::describe(root, PRODUCT, &object, &stored.toolchain)
        .map_err(|error| format!("cannot read the sources of the BPF object ({error})"))?;
    if present.object != stored.object {
        return Err("the BPF object is not the one that its manifest describes".into());
    }
    if present != stored {
        return Err("the sources of the BPF programs have changed since it was built".into());
    }
    Ok(())
}
