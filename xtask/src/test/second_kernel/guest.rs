//! What the guest sees: an initial RAM file system whose first process runs the tests.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::super::libtest::Built;
use super::kernel::{Kernel, folder};
use crate::command::{check, find, output, program};

/// The tests' binary, there.
const TESTS: &str = "/it";

/// The sensor that they start.
const SENSOR: &str = "/sensor";

/// Other programs that the tests start, with the libraries that they need.
pub(super) const PROGRAMS: [&str; 3] = ["ip", "tc", "ethtool"];

/// Packs the tests' binary, the sensor and what they need, and returns the archive.
///
/// # Errors
/// If a file cannot be read or written, or a program is missing.
pub(super) fn pack(kernel: &Kernel, built: &Built, tests: &[&str]) -> Result<PathBuf> {
    let root = folder().join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for directory in [
        "bin", "dev", "modules", "proc", "run", "sys", "tmp", "usr/sbin",
    ] {
        fs::create_dir_all(root.join(directory))?;
    }
    copy(&located("busybox")?, &root, Path::new("bin/busybox"))?;
    let mut libraries = BTreeSet::new();
    for (from, to) in [(&built.integration, TESTS), (&built.sensor, SENSOR)] {
        // Debug information is most of a binary, and all of it would be in the guest's memory.
        check(
            program("strip")
                .arg("--strip-debug")
                .arg("-o")
                .arg(root.join(&to[1..]))
                .arg(from),
        )?;
        libraries.append(&mut needed(from)?);
    }
    for name in PROGRAMS {
        let from = located(name)?;
        copy(&from, &root, &Path::new("usr/sbin").join(name))?;
        libraries.append(&mut needed(&from)?);
    }
    for library in libraries {
        copy(&library, &root, library.strip_prefix("/")?)?;
    }
    for module in &kernel.modules {
        let name = module.file_name().context("a module without a name")?;
        copy(module, &root, &Path::new("modules").join(name))?;
    }
    let init = root.join("init");
    fs::write(&init, script(kernel, tests)?)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    archive(&root)
}

fn located(name: &str) -> Result<PathBuf> {
    find(name).with_context(|| format!("{name} is not installed"))
}

/// Copies what `from` is or points to.
fn copy(from: &Path, root: &Path, to: &Path) -> Result<()> {
    let to = root.join(to);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// The shared libraries of a program, and its loader.
fn needed(binary: &Path) -> Result<BTreeSet<PathBuf>> {
    let text = output(program("ldd").arg(binary))?;
    Ok(text
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}

/// The first process: it prepares what a distribution would, runs the tests and switches off.
fn script(kernel: &Kernel, tests: &[&str]) -> Result<String> {
    let mut script = String::from(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/usr/sbin:/bin\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sys /sys\n\
         mount -t devtmpfs dev /dev\n\
         mount -t tmpfs tmp /tmp\n\
         mount -t tmpfs run /run\n\
         mount -t bpf bpf /sys/fs/bpf\n",
    );
    for module in &kernel.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        writeln!(script, "insmod /modules/{name}")?;
    }
    writeln!(script, "ip link set lo up")?;
    let tests = tests.join(" ");
    writeln!(script, "SENSOR_BIN={SENSOR} {TESTS} --exact {tests} 2>&1")?;
    writeln!(script, "poweroff -f")?;
    Ok(script)
}

/// Makes the archive that the kernel unpacks, without compression: it is read once.
fn archive(root: &Path) -> Result<PathBuf> {
    let file = folder().join("initramfs.cpio");
    let mut names = String::new();
    list(root, Path::new(""), &mut names)?;
    let mut cpio = Command::new("cpio")
        .args(["--create", "--format=newc", "--owner=+0:+0", "--quiet"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(File::create(&file)?)
        .spawn()
        .context("cannot start cpio")?;
    let written = cpio
        .stdin
        .take()
        .context("no stdin")?
        .write_all(names.as_bytes());
    let status = cpio.wait()?;
    ensure!(status.success(), "cpio failed ({status})");
    written.context("cannot tell cpio the names")?;
    Ok(file)
}

/// Names of everything below `root/at`, one a line, each folder before what it holds.
fn list(root: &Path, at: &Path, names: &mut String) -> Result<()> {
    for entry in fs::read_dir(root.join(at))? {
        let entry = entry?;
        let name = at.join(entry.file_name());
        writeln!(names, "{}", name.display())?;
        if entry.file_type()?.is_dir() {
            list(root, &name, names)?;
        }
    }
    Ok(())
}
