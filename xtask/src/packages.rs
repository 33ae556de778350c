//! Debian packages: those that are missing are installed, through `sudo` where that is needed.

use std::process::Stdio;

use anyhow::{Context as _, Result};

use crate::command::{as_root, check, program};

/// Whether dpkg has it.
pub(crate) fn is_installed(package: &str) -> bool {
    program("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

/// Installs packages, and says so.
///
/// # Errors
/// Without root, apt or network; the text names the packages.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    eprintln!("=== installing {}", packages.join(" "));
    apt_install(packages).with_context(|| format!("cannot install {}", packages.join(" ")))
}

/// Brings apt's lists of packages up to date.
///
/// # Errors
/// Without root, apt or network.
pub(crate) fn update() -> Result<()> {
    check(as_root("apt-get", &[])?.args(["update", "--quiet"]))
}

fn apt_install(packages: &[&str]) -> Result<()> {
    update()?;
    let frontend = [("DEBIAN_FRONTEND", "noninteractive".as_ref())];
    let words = ["install", "--quiet", "--yes", "--no-install-recommends"];
    check(as_root("apt-get", &frontend)?.args(words).args(packages))
}
