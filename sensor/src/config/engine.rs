//! The section `[engine]`: bounds and time-outs of the engine, in units for people.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::{
    engine::EngineConfig,
    limits::{FlowTimeouts, Limits, Timeouts},
    proto,
};

const SECOND: u64 = 1_000_000_000;

/// Bounds on memory and time; what hits one is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Live flows; when full, the flow that has been quiet for longest goes.
    pub flows: usize,
    /// Bytes that reassembly of all streams may hold.
    pub reassembly_bytes: usize,
    /// Bytes that one side of one stream may hold.
    pub stream_bytes: usize,
    /// Bytes that fragments of all datagrams may hold.
    pub fragment_bytes: usize,
    /// Dissect TCP connections whose start was not seen, too.
    pub midstream: bool,
    /// What becomes of packets with a wrong checksum; they are counted in either case.
    pub checksums: Checksums,
    pub timeout: Timeout,
}

/// What becomes of packets with a wrong checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Checksums {
    /// They are dissected like others; of large packets one in 16 is verified.
    #[default]
    Tolerant,
    /// They are not dissected, as their receiver drops them; all packets are verified.
    Strict,
}

impl Default for Engine {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            flows: limits.flows,
            reassembly_bytes: limits.reassembly_bytes,
            stream_bytes: limits.stream_bytes,
            fragment_bytes: limits.fragment_bytes,
            midstream: true,
            checksums: Checksums::default(),
            timeout: Timeout::default(),
        }
    }
}

/// For how many seconds a flow may be quiet before it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeout {
    pub tcp: Quiet,
    pub udp: Quiet,
    pub icmp: Quiet,
    pub other: Quiet,
}

impl Default for Timeout {
    fn default() -> Self {
        let timeouts = Timeouts::default();
        Self {
            tcp: Quiet::from(&timeouts.tcp),
            udp: Quiet::from(&timeouts.udp),
            icmp: Quiet::from(&timeouts.icmp),
            other: Quiet::from(&timeouts.other),
        }
    }
}

/// By how far the flow has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quiet {
    /// Seconds while only one side has sent.
    pub new: u64,
    /// Seconds once both sides have sent.
    pub established: u64,
    /// Seconds after FINs or a RST.
    pub closed: u64,
}

impl From<&FlowTimeouts> for Quiet {
    fn from(timeouts: &FlowTimeouts) -> Self {
        Self {
            new: timeouts.new / SECOND,
            established: timeouts.established / SECOND,
            closed: timeouts.closed / SECOND,
        }
    }
}

impl Quiet {
    const fn nanoseconds(&self) -> FlowTimeouts {
        FlowTimeouts {
            new: self.new.saturating_mul(SECOND),
            established: self.established.saturating_mul(SECOND),
            closed: self.closed.saturating_mul(SECOND),
        }
    }
}

impl Engine {
    /// As the engine takes it, with every protocol; what has no key keeps its default.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> EngineConfig {
        EngineConfig {
            seed,
            limits: Limits {
                flows: self.flows,
                reassembly_bytes: self.reassembly_bytes,
                stream_bytes: self.stream_bytes,
                fragment_bytes: self.fragment_bytes,
                ..Limits::default()
            },
            timeouts: Timeouts {
                tcp: self.timeout.tcp.nanoseconds(),
                udp: self.timeout.udp.nanoseconds(),
                icmp: self.timeout.icmp.nanoseconds(),
                other: self.timeout.other.nanoseconds(),
                ..Timeouts::default()
            },
            midstream: self.midstream,
            strict_checksums: self.checksums == Checksums::Strict,
            registry: proto::standard(),
        }
    }
}
