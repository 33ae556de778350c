//! Running other programs: cargo as the invoking user, the few steps that need the kernel as root.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or_else(|| Path::new("."))
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A program that runs in the workspace's root.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root());
    command
}

/// The cargo that runs this program, and with it the same toolchain.
pub(crate) fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Whether this process is root already.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Whether a program of this name is in `PATH`, or where Debian keeps administrators' programs.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// A program that runs as root: by itself if this process is root, else through `sudo`, which
/// may ask for a password. Cargo never runs this way, so that `target/` keeps its owner.
///
/// `environment` is handed over explicitly, because sudo clears it.
pub(crate) fn as_root(name: impl AsRef<OsStr>, environment: &[(&str, &OsStr)]) -> Result<Command> {
    if is_root() {
        let mut command = program(name);
        command.envs(environment.iter().copied());
        return Ok(command);
    }
    if find("sudo").is_none() {
        bail!("this step needs root, and sudo is not installed: run it as root");
    }
    let mut command = program("sudo");
    command.arg("--").arg("env");
    for (key, value) in environment {
        let mut pair = std::ffi::OsString::from(key);
        pair.push("=");
        pair.push(value);
        command.arg(pair);
    }
    command.arg(name);
    Ok(command)
}

/// Runs to the end and demands success.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(())
}

/// Runs to the end, demands success and returns what it wrote to stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
