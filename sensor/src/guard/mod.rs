//! The SYN-flood guard's judgement, as sans-IO as the engine: the kernel's counters and the time
//! go in, changes of state come out, and what the kernel should do.
//!
//! The kernel names destinations that suddenly get many SYNs, and counts what comes to those that
//! it is told to watch. [`Judge`] decides which of them are flooded: by the rate of SYNs **and** by
//! how few of them become connections, over at least a second, so that no crowd of real clients is
//! taken for an attack. [`Judge::wanted`] says what the kernel should hold at any time, and [`steps`]
//! what is missing: the live loop takes them, and takes them again where the kernel refuses. The
//! kernel alone defends.
//!
//! There are two thresholds. A flood that `[detect.syn_flood]` speaks of is told ([`State::Alert`]);
//! one that `[guard]` speaks of is met, too ([`State::Mitigating`], if the mode says so). The guard
//! arms late and disarms early: a connection that comes through a cookie has lost some options, and
//! one that has to retransmit has lost a second.

mod config;
mod event;
mod judge;
mod obstacle;
mod plan;
mod policy;
mod window;

use std::net::{IpAddr, Ipv6Addr};

use sensor_ebpf::abi::{DestinationCounters, DestinationKey, Method};

pub use config::{GuardConfig, MethodChoice, Mode, Override};
pub use event::event;
pub use judge::{Judge, Stats, Watched};
pub use obstacle::{Obstacle, Obstacles};
pub use plan::{Step, steps};
pub use policy::Policy;
pub use window::Rates;

/// What is thought of a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Watched, because it gets many SYNs.
    #[default]
    Normal,
    /// Flooded, and nothing is done about it.
    Alert,
    /// Flooded, and defended.
    Mitigating,
}

/// Label values, in the order of [`State`].
pub const STATES: [&str; 3] = ["normal", "alert", "mitigating"];

impl State {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        STATES[self as usize]
    }
}

/// One change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub key: DestinationKey,
    pub from: State,
    pub to: State,
    /// What is done, or would be in the mode "monitor"; [`Method::Watch`] below the guard's
    /// threshold.
    pub method: Method,
    /// Why it is not the cookie, where that is wanted.
    pub obstacle: Option<Obstacle>,
    /// Kernel time of the change, nanoseconds.
    pub at: u64,
    /// Kernel time since which the former state lasted.
    pub since: u64,
    /// What the last window showed.
    pub rates: Rates,
    /// What was counted in the former state.
    pub did: DestinationCounters,
    /// No change: an earlier process left it so in the kernel.
    pub taken_over: bool,
}

/// Counters of one destination by name, as status and events show them.
#[must_use]
pub fn named(counters: &DestinationCounters) -> [(&'static str, u64); 18] {
    [
        ("syn", counters.syn),
        ("syn_bytes", counters.syn_bytes),
        ("passed", counters.passed),
        ("completed", counters.completed),
        ("cookies", counters.cookies),
        ("cookie_no_listener", counters.cookie_no_listener),
        ("cookie_queue_open", counters.cookie_queue_open),
        ("cookie_ineligible", counters.cookie_ineligible),
        ("cookie_admitted", counters.cookie_admitted),
        ("first_dropped", counters.first_dropped),
        ("retransmission_admitted", counters.retransmission_admitted),
        ("known_admitted", counters.known_admitted),
        ("source_limited", counters.source_limited),
        ("destination_limited", counters.destination_limited),
        ("synack_limited", counters.synack_limited),
        ("lapsed", counters.lapsed),
        ("out_of_state", counters.out_of_state),
        ("would_take", counters.would_take),
    ]
}

/// A destination's address as people write it.
#[must_use]
pub fn address_of(key: &DestinationKey) -> IpAddr {
    Ipv6Addr::from(key.address).to_canonical()
}

/// The name of a method.
#[must_use]
pub const fn method_name(method: Method) -> &'static str {
    match method {
        Method::Watch => "watch",
        Method::Cookie => "cookie",
        Method::Retransmission => "retransmission",
        Method::Rate => "rate",
    }
}

#[cfg(test)]
mod tests;
