//! SYN flood seen: SYNs that are not completed, towards one destination.
//!
//! Judged on exact kernel counters, so no sampling can hide or exaggerate it. A destination is an
//! address and a TCP port. Both the rate of SYNs and the share of them that the destination
//! answered and the client completed have to be out of the ordinary: rate alone fires on a crowd
//! of real clients. The presets are the usual ones: 200 SYNs within 5 s from several sources
//! (NetScope), more than three SYNs for each completed connection (WireMCP-rs), with hysteresis
//! (off below half of the rate that turns it on) and a cooldown between alerts.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use foldhash::quality::RandomState;
use schemars::JsonSchema;
use sensor_ebpf::abi::{Direction, key_flags};
use serde::{Deserialize, Serialize};

use super::GENERATOR;
use crate::core::{
    event::{Action, Alert, Body, Event, Extra, Proto, Text, Vlans},
    kernel::{Drain, KernelFlow},
    time::Timestamp,
};

/// What alerts on SYN floods say; the number is their `alert.signature_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Signature {
    /// There is a flood, and nothing is done about it.
    Seen = 1,
    /// There is a flood, and the guard defends its destination.
    Mitigated = 2,
    /// The flood is over.
    Over = 3,
}

impl Signature {
    pub(super) const FIRST: u32 = Self::Seen as u32;
    pub(super) const LAST: u32 = Self::Over as u32;

    /// The alert with this signature.
    #[must_use]
    pub fn alert(self, action: Action) -> Alert {
        let (signature, severity) = match self {
            Self::Seen => ("SENSOR SYN flood", 2),
            Self::Mitigated => ("SENSOR SYN flood mitigated", 2),
            Self::Over => ("SENSOR SYN flood over", 3),
        };
        Alert {
            action,
            gid: GENERATOR,
            signature_id: self as u32,
            rev: 1,
            signature: Text::from(signature),
            category: Text::from("Detection of a Denial of Service Attack"),
            severity,
        }
    }
}

const SECOND: u64 = 1_000_000_000;
const TCP: u8 = 6;
const ACK: u8 = 0x10;

/// When a flood is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether the detector runs.
    pub enabled: bool,
    /// SYNs per second towards one address and port, averaged over the window, from which on it
    /// may be a flood. It is over below half of that.
    pub syn_rate: u64,
    /// Connections completed, as a percentage of SYNs, from which on it is none.
    pub completed_percent: u64,
    /// Seconds that are judged at once: at least 1, or slow handshakes look unfinished.
    pub window_seconds: u64,
    /// Seconds in which one destination raises no second alert.
    pub cooldown_seconds: u64,
    /// Destinations that are watched at once; what does not fit is counted, not judged.
    pub destinations: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            syn_rate: 100,
            completed_percent: 33,
            window_seconds: 2,
            cooldown_seconds: 60,
            destinations: 65_536,
        }
    }
}

/// What is protected: a listening address, on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Destination {
    address: [u8; 16],
    port: u16,
    ifindex: u32,
    vlan: [u16; 2],
    /// VLAN tags that there were, 0 to 2.
    tags: u8,
}

/// Counts of one window.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// SYNs towards the destination.
    syns: u64,
    /// Flows (client address and port) that they belong to.
    flows: u64,
    /// Flows that carried more than SYNs from the client: the handshake was completed.
    completed: u64,
}

#[derive(Clone, Copy, Debug)]
struct State {
    window: Window,
    /// When this window began.
    since: Timestamp,
    /// Under attack, and since when.
    flooded: Option<Timestamp>,
    alerted: Option<Timestamp>,
}

/// What the detector did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Destinations under watch.
    pub destinations: u64,
    /// Destinations under attack.
    pub flooded: u64,
    /// Entries of destinations for which there was no room.
    pub refused: u64,
}

/// The detector; feed it with every drain.
#[derive(Debug)]
pub struct SynFlood {
    config: Config,
    destinations: HashMap<Destination, State, RandomState>,
    stats: Stats,
}

impl SynFlood {
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            destinations: HashMap::default(),
            stats: Stats::default(),
        }
    }

    /// Puts new thresholds into force; what is known of destinations stays.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Judges a closed generation.
    ///
    /// `interface` names a device by its index. `is_taken` is asked before an alert for an address
    /// and port: whether somebody else watches them and tells what is to be told.
    pub fn on_drain(
        &mut self,
        drain: &Drain,
        interface: &dyn Fn(u32) -> Option<Arc<str>>,
        is_taken: &mut dyn FnMut([u8; 16], u16) -> bool,
        out: &mut dyn FnMut(Event),
    ) {
        if !self.config.enabled {
            self.destinations.clear();
            return;
        }
        for flow in &drain.flows {
            self.count(flow);
        }
        self.judge(drain.closed, interface, is_taken, out);
    }

    fn count(&mut self, flow: &KernelFlow) {
        let key = &flow.key;
        let is_client = key.protocol == TCP
            && key.flags & key_flags::FRAGMENT == 0
            // The destination's own SYNs are its business; a forwarded one counts on arrival.
            && key.direction == Direction::Ingress as u8
            && flow.syn > 0;
        if !is_client {
            return;
        }
        let destination = Destination {
            address: key.dst,
            port: key.dst_port,
            ifindex: key.ifindex,
            vlan: key.vlan,
            tags: u8::from(key.flags & key_flags::VLAN != 0)
                + u8::from(key.flags & key_flags::QINQ != 0),
        };
        let room = self.destinations.len() < self.config.destinations;
        let state = match self.destinations.get_mut(&destination) {
            Some(state) => state,
            None if room => self
                .destinations
                .entry(destination)
                .or_insert_with(|| State {
                    window: Window::default(),
                    since: flow.first,
                    flooded: None,
                    alerted: None,
                }),
            None => {
                self.stats.refused += 1;
                return;
            }
        };
        state.window.syns += u64::from(flow.syn);
        state.window.flows += 1;
        // The client's ACK carries the flag; a retransmitted SYN does not.
        state.window.completed += u64::from(flow.tcp_flags & ACK != 0);
    }

    fn judge(
        &mut self,
        now: Timestamp,
        interface: &dyn Fn(u32) -> Option<Arc<str>>,
        is_taken: &mut dyn FnMut([u8; 16], u16) -> bool,
        out: &mut dyn FnMut(Event),
    ) {
        let config = &self.config;
        let window = config.window_seconds.max(1).saturating_mul(SECOND);
        let cooldown = config.cooldown_seconds.saturating_mul(SECOND);
        let mut flooded = 0;
        self.destinations.retain(|destination, state| {
            let elapsed = now.since(state.since);
            if elapsed < window {
                flooded += u64::from(state.flooded.is_some());
                return true;
            }
            let judged = Judged::new(&state.window, elapsed);
            let incomplete = judged.completed_percent < config.completed_percent;
            if incomplete && judged.syn_rate >= config.syn_rate {
                state.flooded.get_or_insert(state.since);
                let cool = state.alerted.is_none_or(|at| now.since(at) >= cooldown);
                if cool && !is_taken(destination.address, destination.port) {
                    state.alerted = Some(now);
                    let mut event = judged.alert(destination, state, config, now);
                    event.in_iface = interface(destination.ifindex);
                    out(event);
                }
            } else if judged.syn_rate < config.syn_rate / 2 || !incomplete {
                state.flooded = None;
            }
            flooded += u64::from(state.flooded.is_some());
            let is_quiet = state.window.syns == 0
                && state.flooded.is_none()
                && state.alerted.is_none_or(|at| now.since(at) >= cooldown);
            state.window = Window::default();
            state.since = now;
            !is_quiet
        });
        self.stats.flooded = flooded;
        self.stats.destinations = u64::try_from(self.destinations.len()).unwrap_or(u64::MAX);
    }
}

/// One window's figures.
struct Judged {
    syns: u64,
    syn_rate: u64,
    flows: u64,
    completed_percent: u64,
}

impl Judged {
    fn new(window: &Window, elapsed: u64) -> Self {
        Self {
            syns: window.syns,
            syn_rate: window.syns.saturating_mul(SECOND) / elapsed.max(1),
            flows: window.flows,
            completed_percent: window.completed * 100 / window.syns.max(1),
        }
    }

    fn alert(
        &self,
        destination: &Destination,
        state: &State,
        config: &Config,
        now: Timestamp,
    ) -> Event {
        let alert = Signature::Seen.alert(Action::Allowed);
        let observed = [
            ("syns", self.syns),
            ("syns_per_second", self.syn_rate),
            ("syns_per_second_threshold", config.syn_rate),
            ("flows", self.flows),
            ("completed_percent", self.completed_percent),
            ("completed_percent_threshold", config.completed_percent),
            (
                "flood_seconds",
                now.since(state.flooded.unwrap_or(now)) / SECOND,
            ),
        ];
        let mut event = Event::new(
            now,
            Body::Alert {
                alert: Box::new(alert),
            },
        );
        event.dest_ip = Some(address(&destination.address).into());
        event.dest_port = Some(destination.port);
        event.proto = Some(Proto(TCP));
        event.vlan = Vlans::new(&destination.vlan[..usize::from(destination.tags)]);
        event.extra = Some(Box::new(Extra {
            observed: observed.into_iter().collect(),
            ..Extra::default()
        }));
        event
    }
}

fn address(bytes: &[u8; 16]) -> IpAddr {
    Ipv6Addr::from(*bytes).to_canonical()
}

#[cfg(test)]
mod tests;
