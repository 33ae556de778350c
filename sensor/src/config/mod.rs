//! The configuration: one typed tree, composed of each module's section.
//!
//! Precedence: flags, then `SENSOR_*` variables, then the file, then the defaults; see
//! [`load`](load::load). `deploy/sensor.toml` is the commented file with the defaults.

mod engine;
mod keys;
mod load;
mod locate;
mod sections;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    core::detect::DetectConfig,
    guard::{GuardConfig, Mode},
    lists::ListSettings,
    output::OutputSettings,
};

pub use engine::{Checksums, Engine, Quiet, Timeout};
pub use keys::{Key, json_schema, known_keys};
pub use load::{Flag, Loaded, Origin, load};

pub use sections::{
    AttachMode, Budget, Control, Flows, Log, LogFormat, LogLevel, Metrics, Pin, Sampling,
    SamplingFilter, SamplingMode, Stats,
};

/// Where the file is looked for when no `--config` names one.
pub const DEFAULT_PATH: &str = "/etc/sensor/sensor.toml";

/// Everything that can be configured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Interfaces to attach to.
    pub interfaces: Vec<String>,
    /// XDP mode: `auto` tries native and falls back to generic with a warning; `passive` attaches
    /// none and watches beside somebody else's.
    pub mode: AttachMode,
    /// Mirror port: promiscuous, count and drop every frame, both directions arrive.
    pub tap: bool,
    /// The kill switch: neither lists nor guard are asked, every packet passes.
    pub pass_all: bool,
    pub sampling: Sampling,
    pub flows: Flows,
    pub pin: Pin,
    pub engine: Engine,
    pub lists: ListSettings,
    pub detect: DetectConfig,
    pub guard: GuardConfig,
    pub output: OutputSettings,
    pub stats: Stats,
    pub metrics: Metrics,
    pub control: Control,
    pub log: Log,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}; name another file with --config", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}:{line}:{column}: {message}", path.display())]
    File {
        path: PathBuf,
        line: usize,
        column: usize,
        message: String,
    },
    #[error("{}:{line}:{column}: unknown key `{key}`{hint}", path.display())]
    UnknownKey {
        path: PathBuf,
        line: usize,
        column: usize,
        key: String,
        hint: String,
    },
    #[error("{origin}: {message}")]
    Value { origin: Origin, message: String },
}

impl Config {
    /// Whether received packets are watched and never stopped, beside another XDP program.
    #[must_use]
    pub const fn is_passive(&self) -> bool {
        self.mode.xdp().is_none()
    }

    /// The guard's mode that is in force: passive, nothing asks it, and the detector in the flow
    /// records tells of floods.
    #[must_use]
    pub const fn guard_mode(&self) -> Mode {
        if self.is_passive() {
            Mode::Off
        } else {
            self.guard.mode
        }
    }

    /// What the types cannot say, as (key, complaint).
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut check = |key, good: bool, complaint: &str| {
            if !good {
                problems.push((key, complaint.to_owned()));
            }
        };
        check(
            "interfaces",
            self.interfaces.len() <= sensor_ebpf::abi::MAX_DEVICES,
            "more interfaces than the sensor can attach to at once (32)",
        );
        check(
            "interfaces",
            self.interfaces
                .iter()
                .all(|name| (1..16).contains(&name.len())),
            "an interface name has 1 to 15 bytes",
        );
        check(
            "flows.capacity",
            (1024..=16_777_216).contains(&self.flows.capacity),
            "must be between 1024 and 16777216 entries",
        );
        check(
            "flows.interval_ms",
            (1000..=5000).contains(&self.flows.interval_ms),
            "must be between 1000 and 5000 milliseconds",
        );
        check(
            "detect.syn_flood.window_seconds",
            (1..=3600).contains(&self.detect.syn_flood.window_seconds),
            "must be between 1 and 3600 seconds",
        );
        check(
            "pin.path",
            self.pin.path.is_absolute(),
            "must be an absolute path, below /sys/fs/bpf as a rule",
        );
        check(
            "engine.flows",
            (16..=67_108_864).contains(&self.engine.flows),
            "must be between 16 and 67108864 flows",
        );
        check(
            "metrics.listen",
            self.metrics.listen.len() <= 8,
            "at most 8 addresses can be listened on",
        );
        check(
            "tap",
            !(self.tap && self.is_passive()),
            "drops every frame, which `mode = \"passive\"` cannot: choose one of them",
        );
        check(
            "guard.mode",
            !(self.guard.mode == Mode::Mitigate && self.is_passive()),
            "`mitigate` stops packets, which `mode = \"passive\"` cannot: choose one of them",
        );
        for (key, good, complaint) in self.guard.checks() {
            check(key, good, complaint);
        }
        problems
    }
}
