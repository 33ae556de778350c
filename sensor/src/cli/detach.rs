//! `sensor detach`: removes a pinned data plane, whose sensor need not run.

use std::{path::PathBuf, process::ExitCode};

use super::config;
use crate::bpf::Pinned;

#[derive(Debug, clap::Args)]
pub(super) struct DetachArgs {
    /// The folder of the pins (default: `pin.path` of the configuration)
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// The configuration (default: SENSOR_CONFIG, or /etc/sensor/sensor.toml if it exists)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &DetachArgs) -> anyhow::Result<ExitCode> {
    let path = match &args.path {
        Some(path) => path.clone(),
        None => config::load(args.config.as_deref(), &[])?.config.pin.path,
    };
    match Pinned::remove(&path)? {
        None => eprintln!("Nothing is pinned in {}", path.display()),
        Some(removed) => eprintln!(
            "Detached {} and removed {}; {} packets were counted that nobody has read",
            names(&removed.devices),
            path.display(),
            removed.unread_packets
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// Devices for a sentence.
pub(super) fn names(devices: &[String]) -> String {
    if devices.is_empty() {
        "no interface".to_owned()
    } else {
        devices.join(", ")
    }
}
