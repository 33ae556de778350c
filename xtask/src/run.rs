//! `cargo xtask run`: build as the invoking user, run as root.

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result, bail};

use crate::build;
use crate::command::{as_root, find};

/// Programs without which there is no lab, and their Debian packages.
const LAB_TOOLS: [(&str, &str); 2] = [("ip", "iproute2"), ("ethtool", "ethtool")];

/// Shows the sensor at work in the lab, or runs it with `args` on a real interface.
pub(crate) fn run(seconds: Option<u64>, args: &[String]) -> Result<()> {
    if args.is_empty() {
        // Before minutes of building.
        for (tool, package) in LAB_TOOLS {
            if find(tool).is_none() {
                bail!("the lab needs `{tool}`: apt install {package}");
            }
        }
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
