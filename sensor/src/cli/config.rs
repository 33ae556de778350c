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
                let mut entry = json!({ "value": value, "origin": origin.to_string() });
                if let Some(in_force) = in_force(loaded, key) {
                    entry["in_force"] = in_force.into();
                }
                (key.to_owned(), entry)
            })
            .collect();
        serde_json::to_writer_pretty(&mut *out, &entries)?;
        writeln!(out)?;
        return Ok(());
    }
    for (key, value, origin) in loaded.entries() {
        let note = in_force(loaded, key)
            .map(|value| format!("; in force: {value}, as `mode` is \"passive\""))
            .unwrap_or_default();
        match value {
            Some(value) => {
                writeln!(out, "{:<48} # {origin}{note}", format!("{key} = {value}"))?;
            }
            None => writeln!(out, "{:<48} # unset", format!("# {key} ="))?,
        }
    }
    Ok(())
}

/// What holds in the place of a value, where another one does.
fn in_force(loaded: &Loaded, key: &str) -> Option<&'static str> {
    let mode = loaded.config.guard_mode();
    (key == "guard.mode" && mode != loaded.config.guard.mode).then(|| mode.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mode: &str, json: bool) -> String {
        let mode = BTreeMap::from([("SENSOR_MODE".to_owned(), mode.to_owned())]);
        let loaded =
            config::load(Some(Path::new("/dev/null")), &mode, &[]).expect("a configuration");
        let mut out = Vec::new();
        show(&loaded, json, &mut out).expect("a Vec takes it");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn what_passive_mode_does_not_do_is_said_beside_what_is_configured() {
        let line = |mode| {
            let text = shown(mode, false);
            let line = text.lines().find(|line| line.starts_with("guard.mode"));
            line.expect("the guard's mode").to_owned()
        };
        assert!(
            line("passive").contains("in force: off"),
            "{}",
            line("passive")
        );
        assert!(!line("native").contains("in force"), "{}", line("native"));
        let value: serde_json::Value = serde_json::from_str(&shown("passive", true)).expect("JSON");
        assert_eq!(value["guard.mode"]["value"], "monitor");
        assert_eq!(value["guard.mode"]["in_force"], "off");
        assert!(value["mode"]["in_force"].is_null());
    }
}
