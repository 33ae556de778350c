//! What the tests need beyond stable Rust: installed, or named.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::tally::Tally;
use crate::command::{cargo, check, find, root};
use crate::packages;

/// Packages that the tests use, one a line.
const PACKAGES: &str = ".ci/packages";

/// Installs the Debian packages that are missing; what cannot be installed is named, and the
/// checks that need it say so themselves.
pub(crate) fn debian_packages(tally: &mut Tally) {
    let list = match std::fs::read_to_string(root().join(PACKAGES)) {
        Ok(list) => list,
        Err(error) => return tally.fail(PACKAGES, &error.to_string()),
    };
    let missing: Vec<&str> = list
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(|package| !packages::is_installed(package))
        .collect();
    if missing.is_empty() {
        return;
    }
    if let Err(error) = packages::install(&missing) {
        eprintln!("xtask: {error:#}");
    }
}

/// The linker for BPF, which Debian does not have.
///
/// # Errors
/// If it is missing and cannot be built.
pub(crate) fn bpf_toolchain() -> Result<()> {
    if find_cargo_program("bpf-linker") {
        return Ok(());
    }
    let llvm = Path::new("/usr/lib/llvm-22");
    if !llvm.is_dir() {
        bail!("bpf-linker is not installed, and llvm-22-dev, which it is built with, neither");
    }
    eprintln!("=== installing bpf-linker");
    let mut command = cargo(["install", "bpf-linker", "--version", "0.13.0", "--locked"]);
    command.args(["--no-default-features", "--features", "llvm-22"]);
    check(command.env("LLVM_PREFIX", llvm)).context("cannot install bpf-linker")
}

/// cargo-deny, without optimisation: it builds in half the time and runs for a moment.
///
/// # Errors
/// If it is missing and cannot be built.
pub(crate) fn cargo_deny() -> Result<()> {
    if find_cargo_program("cargo-deny") {
        return Ok(());
    }
    eprintln!("=== installing cargo-deny");
    check(&mut cargo([
        "install",
        "cargo-deny",
        "--version",
        "0.20.2",
        "--locked",
        "--debug",
    ]))
    .context("cannot install cargo-deny")
}

/// Whether a program is in `PATH` or where cargo installs it.
fn find_cargo_program(name: &str) -> bool {
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        Into::into,
    );
    find(name).is_some() || home.join("bin").join(name).is_file()
}
