//! `cargo xtask run`: build as the invoking user, run as root.

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result, bail};

use crate::build;
use crate::command::{as_root, find};
use crate::packages;

/// Programs that the lab calls, and their Debian packages.
const LAB_TOOLS: [(&str, &str); 3] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("openssl", "openssl"),
];

/// Installs what the lab lacks, on Debian and its kin, or names it.
fn provide_tools() -> Result<()> {
    let missing = LAB_TOOLS.iter().filter(|(tool, _)| find(tool).is_none());
    let (tools, packages): (Vec<_>, Vec<_>) = missing.copied().unzip();
    if tools.is_empty() {
        return Ok(());
    }
    let needs = format!("the lab needs {}", tools.join(", "));
    if find("apt-get").is_none() {
        bail!(
            "{needs}: install them, in Debian's packages {}",
            packages.join(" ")
        );
    }
    packages::install(&packages).with_context(|| needs)
}

/// Shows the sensor at work in the lab, or runs it with `args` on a real interface.
pub(crate) fn run(seconds: Option<u64>, args: &[String]) -> Result<()> {
    if args.is_empty() {
        // Before minutes of building.
        provide_tools()?;
    }
    let sensor = build::sensor()?;
    let mut command = if args.is_empty() {
        let mut command = as_root(build::lab()?, &[])?;
        command.arg("show").arg("--sensor").arg(sensor);
        command
    } else {
        let mut command = as_root(sensor, &[])?;
        command.arg("run").args(args);
        command
    };
    if let Some(seconds) = seconds {
        command.arg("--for").arg(seconds.to_string());
    }
    // In our place: signals reach it, and its status is ours.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {command:?}"))
}
