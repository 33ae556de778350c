//! Sections that belong to no module in particular.

use std::{fmt, net::SocketAddr, path::PathBuf};

use schemars::JsonSchema;
use sensor_ebpf::abi::{FilterPrefix, Settings, mode};
use serde::{Deserialize, Serialize};

use crate::bpf::ModeOption;

/// How received packets are met.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// Native, or else generic with a warning.
    #[default]
    Auto,
    /// In the driver, or fail.
    Native,
    /// In the stack, after GRO: packet counts are too low there.
    Generic,
    /// No XDP: count, beside an XDP program of somebody else, what it lets through; stop nothing.
    Passive,
}

impl AttachMode {
    /// The XDP mode, if XDP is to be attached.
    #[must_use]
    pub const fn xdp(self) -> Option<ModeOption> {
        match self {
            Self::Auto => Some(ModeOption::Auto),
            Self::Native => Some(ModeOption::Native),
            Self::Generic => Some(ModeOption::Generic),
            Self::Passive => None,
        }
    }
}

/// Which packets are sampled.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum SamplingMode {
    /// By flow: its first packets, DNS, TCP control segments, and one in so many of the rest.
    #[default]
    Flow,
    /// Every packet, within the budget.
    Full,
    /// None: count only.
    Off,
}

/// Which packets go to user space. Counting is exact whatever is set here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// `flow`: the choices below; `full`: every packet, within the budget; `off`: none.
    pub mode: SamplingMode,
    /// Sample the first so many packets of each flow and direction.
    pub first_packets: u32,
    /// Sample one in so many of the rest; 0 for none.
    pub one_in: u32,
    pub budget: Budget,
    pub filter: SamplingFilter,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            mode: SamplingMode::Flow,
            first_packets: 16,
            one_in: 1000,
            budget: Budget::default(),
            filter: SamplingFilter::default(),
        }
    }
}

impl Sampling {
    /// As the kernel takes them.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let Budget {
            first,
            dns,
            control,
            rest,
            full,
        } = self.budget;
        Settings {
            mode: match self.mode {
                SamplingMode::Flow => 0,
                SamplingMode::Full => mode::SAMPLE_FULL,
                SamplingMode::Off => mode::SAMPLE_OFF,
            } | self.filter.mode(),
            first_packets: self.first_packets,
            rest_below: Settings::rest_below(self.one_in),
            budget: [first, dns, control, rest, full],
            ..Settings::default()
        }
    }
}

/// Samples per CPU and 10 ms, by class, so that a flood starves sampling before counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// The first packets of each flow.
    pub first: u32,
    /// Ports 53, 5353 and 5355.
    pub dns: u32,
    /// TCP segments with SYN, FIN or RST.
    pub control: u32,
    /// One in `sampling.one_in` of the rest.
    pub rest: u32,
    /// With `sampling.mode = "full"`, and flows that a dissector wants more of.
    pub full: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            first: 1000,
            dns: 500,
            control: 500,
            rest: 100,
            full: 4000,
        }
    }
}

/// Sample only what matches; an empty list matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingFilter {
    /// Addresses of either end.
    pub addresses: Vec<std::net::IpAddr>,
    /// Ports of either end.
    pub ports: Vec<u16>,
}

impl SamplingFilter {
    /// The filters that are in use.
    const fn mode(&self) -> u32 {
        let addresses = if self.addresses.is_empty() {
            0
        } else {
            mode::FILTER_ADDRESSES
        };
        let ports = if self.ports.is_empty() {
            0
        } else {
            mode::FILTER_PORTS
        };
        addresses | ports
    }

    /// The addresses as the kernel takes them.
    #[must_use]
    pub fn prefixes(&self) -> Vec<FilterPrefix> {
        let mapped = |address: &std::net::IpAddr| match address {
            std::net::IpAddr::V4(address) => address.to_ipv6_mapped(),
            std::net::IpAddr::V6(address) => *address,
        };
        let prefix = |address| FilterPrefix {
            prefix_len: 128,
            address: mapped(address).octets(),
        };
        self.addresses.iter().map(prefix).collect()
    }
}

/// The kernel's flow tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Flows {
    /// Entries of each of the two generations' tables (a flow has one per direction and device).
    pub capacity: u32,
    /// A generation is closed and drained so often; sooner when the table is 70 % full.
    pub interval_ms: u64,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            capacity: 262_144,
            interval_ms: 1000,
        }
    }
}

/// The data plane without a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pin {
    /// Leave the data plane at work when the sensor ends, however it does, and take it over at the
    /// next start. `sensor detach` removes it.
    pub enabled: bool,
    /// Folder on a BPF file system for nothing else; it is made if it is missing.
    pub path: PathBuf,
}

impl Default for Pin {
    fn default() -> Self {
        Self {
            enabled: false,
            path: PathBuf::from("/sys/fs/bpf/sensor"),
        }
    }
}

/// EVE `stats` events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Stats {
    /// Seconds from one to the next; 0 for none.
    pub interval_seconds: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            interval_seconds: 10,
        }
    }
}

/// Prometheus metrics and health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Addresses of the web listener; none switches it off.
    pub listen: Vec<SocketAddr>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 19100))],
        }
    }
}

/// The control socket, for `sensor status`, `flows` and `stats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Path of the Unix socket. Root and the daemon's own user and group may connect.
    pub socket: PathBuf,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/sensor/sensor.sock"),
        }
    }
}

/// Messages on stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Least severity that is written.
    pub level: LogLevel,
    /// `text` for people, `json` for machines.
    pub format: LogFormat,
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}
