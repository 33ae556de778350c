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
    tell_revision(&root);
    if let Err(problem) = verify(&root) {
        println!("cargo::error={problem}: {REMEDY}");
    }
}

/// Sets `SENSOR_REVISION`, unless it is set already, to the commit that a release is built from:
/// the same sources give the same binary. Without git or its folder there is none. Other
/// profiles go without, so that a commit does not rebuild them.
fn tell_revision(root: &Path) {
    println!("cargo::rerun-if-env-changed=SENSOR_REVISION");
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if !is_release || std::env::var_os("SENSOR_REVISION").is_some() {
        return;
    }
    let git = |words: &[&str]| {
        let output = std::process::Command::new("git")
            .arg("-C")
            .arg(root)
            .args(words)
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // The folder has to be this project's own, not one around an unpacked archive.
    if !root.join(".git").exists() {
        return;
    }
    if let Some(revision) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo::rustc-env=SENSOR_REVISION={revision}");
    }
    // Every commit and checkout adds a line there.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        let log = root.join(log);
        if log.exists() {
            println!("cargo::rerun-if-changed={}", log.display());
        }
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
