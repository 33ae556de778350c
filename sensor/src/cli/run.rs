//! `sensor run`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use toml::Value;

use super::config;
use crate::{
    config::{AttachMode, Flag, SamplingMode},
    daemon::{self, Options},
    guard,
};

const EXAMPLES: &str = "\
Examples:
  sensor run -i eth0                      count, sample and dissect what crosses eth0
  sensor run -i eth0 -i eth1 --json       two interfaces, events to stdout
  sensor run -c /etc/sensor/sensor.toml   all from the configuration file
  sensor run -i eth2 --tap                a mirror port: count and drop every frame
  sensor run -i eth0 --guard mitigate     stop SYN floods; without it, they are told
  sensor run -i eth0 --mode passive       watch beside an XDP program of somebody else

";

#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct RunArgs {
    /// Interface to attach to; may be given several times
    #[arg(short, long = "interface", value_name = "IFACE")]
    interfaces: Vec<String>,
    /// The configuration (default: SENSOR_CONFIG, or /etc/sensor/sensor.toml if it exists)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// XDP mode, or none
    #[arg(long, value_name = "MODE")]
    mode: Option<AttachMode>,
    /// Mirror port: promiscuous, count and drop every frame, both directions arrive
    #[arg(long)]
    tap: bool,
    /// Allow --tap on an interface with addresses, which makes the host unreachable by them
    #[arg(long, requires = "tap")]
    force: bool,
    /// What the SYN-flood guard may do
    #[arg(long, value_name = "MODE")]
    guard: Option<guard::Mode>,
    /// Which packets are sampled
    #[arg(long, value_name = "MODE")]
    sampling: Option<SamplingMode>,
    /// End by itself after so many seconds
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Events to stdout as EVE JSON Lines; messages still go to stderr
    #[arg(long)]
    json: bool,
    /// Address of the web listener, instead of `metrics.listen`
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<std::net::SocketAddr>,
    /// Path of the control socket, instead of `control.socket`
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let flags = args.flags();
    let loaded = config::load(args.config.as_deref(), &flags)?;
    let options = Options {
        json: args.json,
        limit: args.seconds.map(Duration::from_secs),
        force_tap: args.force,
    };
    let reload = || config::load(args.config.as_deref(), &flags);
    Ok(daemon::run(loaded, options, &reload)?)
}

impl RunArgs {
    /// What was given, as keys of the configuration.
    fn flags(&self) -> Vec<Flag> {
        let mut flags = Vec::new();
        let mut set = |name, key, value| flags.push(Flag { name, key, value });
        let strings =
            |items: Vec<String>| Value::Array(items.into_iter().map(Value::String).collect());
        if !self.interfaces.is_empty() {
            set(
                "--interface",
                "interfaces",
                strings(self.interfaces.clone()),
            );
        }
        if let Some(mode) = self.mode {
            set("--mode", "mode", name_of(mode));
        }
        if self.tap {
            set("--tap", "tap", Value::Boolean(true));
        }
        if let Some(mode) = self.guard {
            set("--guard", "guard.mode", name_of(mode));
        }
        if let Some(mode) = self.sampling {
            set("--sampling", "sampling.mode", name_of(mode));
        }
        if !self.listen.is_empty() {
            let listen = self.listen.iter().map(ToString::to_string).collect();
            set("--listen", "metrics.listen", strings(listen));
        }
        if let Some(socket) = &self.socket {
            let path = socket.to_string_lossy().into_owned();
            set("--socket", "control.socket", Value::String(path));
        }
        flags
    }
}

/// The name of a value that clap and the configuration both know.
fn name_of(value: impl clap::ValueEnum) -> Value {
    let name = value.to_possible_value();
    Value::String(name.map_or_else(String::new, |name| name.get_name().to_owned()))
}
