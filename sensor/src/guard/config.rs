//! The section `[guard]` of the configuration.

use std::net::IpAddr;

use schemars::JsonSchema;
use sensor_ebpf::abi::{GuardMode, GuardSettings, Method};
use serde::{Deserialize, Serialize};

/// Overrides that the section may hold.
const MAX_OVERRIDES: usize = 256;

/// What the guard may do.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing; SYNs are not watched.
    Off,
    /// Watch, tell, and count what it would have done.
    #[default]
    Monitor,
    /// Defend.
    Mitigate,
}

impl Mode {
    /// As the configuration writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Monitor => "monitor",
            Self::Mitigate => "mitigate",
        }
    }
}

impl From<Mode> for GuardMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Off => Self::Off,
            Mode::Monitor => Self::Monitor,
            Mode::Mitigate => Self::Mitigate,
        }
    }
}

/// How an attacked destination is defended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MethodChoice {
    /// SYN cookies; where they cannot work, retransmission.
    #[default]
    Cookie,
    /// The first SYN of an unknown client is dropped, its retransmission admitted.
    Retransmission,
    /// Limits per source and destination only: against attackers that do not spoof.
    Rate,
}

impl MethodChoice {
    /// The method, where cookies work or not.
    pub(super) const fn method(self, cookies_work: bool) -> Method {
        match self {
            Self::Cookie if cookies_work => Method::Cookie,
            Self::Cookie | Self::Retransmission => Method::Retransmission,
            Self::Rate => Method::Rate,
        }
    }
}

/// The SYN-flood guard. What is a flood at all, `[detect.syn_flood]` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GuardConfig {
    /// `off`; `monitor`: watch, tell, and count what would have been done; `mitigate`: defend.
    pub mode: Mode,
    /// SYNs per second to one address and port from which on a flood is met. It is left alone
    /// again below half of that.
    pub syn_rate: u64,
    /// For how many seconds a flood has to be over before the defence of a destination ends.
    pub calm_seconds: u64,
    /// `cookie`: SYN cookies, or retransmission where they cannot work; `retransmission`: the
    /// first SYN of an unknown client is dropped, the next admitted; `rate`: limits only.
    pub method: MethodChoice,
    /// SYNs per second that one source may send to an attacked destination, by method `rate`.
    pub source_syn_rate: u32,
    /// SYNs that one source may send at once before that.
    pub source_burst: u32,
    /// SYNs per second that an attacked destination gets at most, by method `rate`; 0 for no
    /// limit.
    pub destination_syn_rate: u32,
    /// SYN-ACKs per second that the host answers by cookies at most, so that it is no reflector.
    pub synack_rate: u32,
    /// Segments per second that belong to no known connection and still pass to an attacked
    /// destination; 0 for no limit.
    pub out_of_state_rate: u32,
    /// For how many seconds a client that has proved itself by a retransmission is known.
    pub validated_seconds: u32,
    /// If the sensor has not judged for so many seconds, the kernel stops dropping SYNs.
    pub hold_seconds: u32,
    /// Destinations that are treated otherwise.
    pub destinations: Vec<Override>,
}

impl Default for GuardConfig {
    fn default() -> Self {
        let kernel = GuardSettings::DEFAULT;
        Self {
            mode: Mode::Monitor,
            syn_rate: 1000,
            calm_seconds: 10,
            method: MethodChoice::Cookie,
            source_syn_rate: kernel.source_per_second,
            source_burst: kernel.source_burst,
            destination_syn_rate: 0,
            synack_rate: kernel.synack_per_second,
            out_of_state_rate: kernel.out_of_state_per_second,
            validated_seconds: kernel.validated_seconds,
            hold_seconds: kernel.hold_seconds,
            destinations: Vec::new(),
        }
    }
}

/// What differs for one destination; what is not set is as for all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The destination's address.
    pub address: IpAddr,
    /// Its TCP port; all of them if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Leave it alone: neither watched nor defended.
    #[serde(default)]
    pub exempt: bool,
    /// Instead of `guard.syn_rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syn_rate: Option<u64>,
    /// Instead of `guard.method`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<MethodChoice>,
    /// Instead of `guard.destination_syn_rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_syn_rate: Option<u32>,
}

impl GuardConfig {
    /// As the kernel takes it; `suspect_per_window` as in [`Policy::suspect_per_window`].
    ///
    /// [`Policy::suspect_per_window`]: super::Policy::suspect_per_window
    #[must_use]
    pub const fn settings(&self, suspect_per_window: u32) -> GuardSettings {
        GuardSettings {
            suspect_per_window,
            source_per_second: self.source_syn_rate,
            source_burst: self.source_burst,
            out_of_state_per_second: self.out_of_state_rate,
            synack_per_second: self.synack_rate,
            validated_seconds: self.validated_seconds,
            hold_seconds: self.hold_seconds,
            ..GuardSettings::DEFAULT
        }
    }

    /// Whether any destination may be defended by cookies.
    #[must_use]
    pub fn may_send_cookies(&self) -> bool {
        let mut methods = self.destinations.iter().filter_map(|one| one.method);
        self.method == MethodChoice::Cookie || methods.any(|one| one == MethodChoice::Cookie)
    }

    /// What the types cannot say, as (key, good, complaint).
    #[must_use]
    pub fn checks(&self) -> [(&'static str, bool, &'static str); 8] {
        [
            (
                "guard.syn_rate",
                (10..=1_000_000_000).contains(&self.syn_rate),
                "must be between 10 and 1000000000 SYNs per second",
            ),
            (
                "guard.calm_seconds",
                (1..=3600).contains(&self.calm_seconds),
                "must be between 1 and 3600 seconds",
            ),
            (
                "guard.source_syn_rate",
                self.source_syn_rate > 0,
                "a source must be allowed at least one SYN per second",
            ),
            (
                "guard.source_burst",
                (1..=GuardSettings::MAX_BURST).contains(&self.source_burst),
                "must be between 1 and 60000 SYNs",
            ),
            (
                "guard.synack_rate",
                self.synack_rate > 0,
                "must be at least 1; `method = \"retransmission\"` sends no SYN-ACK",
            ),
            (
                "guard.validated_seconds",
                (1..=3600).contains(&self.validated_seconds),
                "must be between 1 and 3600 seconds",
            ),
            (
                "guard.hold_seconds",
                (2..=3600).contains(&self.hold_seconds),
                "must be between 2 and 3600 seconds",
            ),
            (
                "guard.destinations",
                self.destinations.len() <= MAX_OVERRIDES,
                "at most 256 destinations can be treated otherwise",
            ),
        ]
    }
}
