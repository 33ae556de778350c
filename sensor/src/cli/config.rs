//! `sensor config check|show|schema`.

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use serde_json::json;

use crate::config::{self, ConfigError, Flag, Loaded, json_schema};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Is the configuration valid? Silent if it is
    Check {
        /// The file (default: SENSOR_CONFIG, or /etc/sensor/sensor.toml if it exists)
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the effective configuration with the origin of each value
    Show {
        /// The file (default: SENSOR_CONFIG, or /etc/sensor/sensor.toml if it exists)
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// As one JSON object: {KEY: {"value": ..., "origin": ...}}
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the configuration file
    Schema,
}

pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match command {
        Command::Check { config } => {
            load(config.as_deref(), &[])?;
        }
        Command::Show { config, json } => show(&load(config.as_deref(), &[])?, json, &mut out)?,
        Command::Schema => {
            serde_json::to_writer_pretty(&mut out, &json_schema())?;
            writeln!(out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The effective configuration of this process.
pub(super) fn load(path: Option<&Path>, flags: &[Flag]) -> Result<Loaded, ConfigError> {
    // A variable that is not UTF-8 cannot be one of ours.
    let variables: BTreeMap<_, _> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("SENSOR_"))
        .collect();
    config::load(path, &variables, flags)
}

fn show(loaded: &Loaded, json: bool, out: &mut impl io::Write) -> anyhow::Result<()> {
    if json {
        let entries: serde_json::Map<_, _> = loaded
            .entries()
            .map(|(key, value, origin)| {
                (
                    key.to_owned(),
                    json!({ "value": value, "origin": origin.to_string() }),
                )
            })
            .collect();
        serde_json::to_writer_pretty(&mut *out, &entries)?;
        writeln!(out)?;
        return Ok(());
    }
    for (key, value, origin) in loaded.entries() {
        match value {
            Some(value) => writeln!(out, "{:<48} # {origin}", format!("{key} = {value}"))?,
            None => writeln!(out, "{:<48} # unset", format!("# {key} ="))?,
        }
    }
    Ok(())
}
