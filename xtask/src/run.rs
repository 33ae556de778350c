//! `cargo xtask run`: build as the invoking user, run as root.

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result};

use crate::build;
use crate::command::as_root;

/// Shows the sensor at work in the lab, or runs it with `args` on a real interface.
pub(crate) fn run(seconds: Option<u64>, args: &[String]) -> Result<()> {
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
