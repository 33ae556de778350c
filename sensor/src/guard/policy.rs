//! The thresholds, made of the configuration.

use sensor_ebpf::abi::{DestinationKey, Method, WINDOW_SHIFT};

use super::{GuardConfig, MethodChoice, Mode, Obstacle, Obstacles, Override, address_of};
use crate::core::detect::syn_flood;

const SECOND: u64 = 1_000_000_000;

/// What a flood is, and what is done about it.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(super) mode: Mode,
    /// SYNs per second that are told of.
    pub(super) alert_rate: u64,
    pub(super) completed_percent: u64,
    pub(super) calm_ns: u64,
    /// Why cookies do not work on this host, where they do not.
    pub(super) obstacles: Obstacles,
    arm_rate: u64,
    method: MethodChoice,
    destination_syn_rate: u32,
    overrides: Vec<Override>,
}

/// What holds for one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) exempt: bool,
    /// SYNs per second from which on a flood is met.
    pub(super) arm_rate: u64,
    pub(super) method: MethodChoice,
    pub(super) syn_per_second: u32,
}

impl Policy {
    /// `obstacles`: why cookies do not work on this host, where they do not.
    #[must_use]
    pub fn new(guard: &GuardConfig, flood: &syn_flood::Config, obstacles: Obstacles) -> Self {
        Self {
            mode: guard.mode,
            // A detector that is switched off tells nothing that is not met.
            alert_rate: if flood.enabled {
                flood.syn_rate.min(guard.syn_rate)
            } else {
                guard.syn_rate
            },
            completed_percent: flood.completed_percent,
            calm_ns: guard.calm_seconds.saturating_mul(SECOND),
            obstacles,
            arm_rate: guard.syn_rate,
            method: guard.method,
            destination_syn_rate: guard.destination_syn_rate,
            overrides: guard.destinations.clone(),
        }
    }

    /// SYNs that one CPU may see for one destination within a window of the sketch before it names
    /// it a suspect: those of half of the lowest rate that anything is done at. Floods that are spread more thinly
    /// over CPUs are found in the flow records.
    #[must_use]
    pub fn suspect_per_window(&self) -> u32 {
        let lowest = self
            .overrides
            .iter()
            .filter_map(|one| one.syn_rate)
            .fold(self.alert_rate, u64::min);
        let half = (lowest / 2).saturating_mul(1 << WINDOW_SHIFT) / SECOND;
        u32::try_from(half).unwrap_or(u32::MAX).max(2)
    }

    /// The first override that fits, over what holds for all.
    pub(super) fn rule(&self, key: &DestinationKey) -> Rule {
        let address = address_of(key);
        let fitting = self.overrides.iter().find(|one| {
            one.address.to_canonical() == address && one.port.is_none_or(|port| port == key.port)
        });
        Rule {
            exempt: fitting.is_some_and(|one| one.exempt),
            arm_rate: fitting
                .and_then(|one| one.syn_rate)
                .unwrap_or(self.arm_rate),
            method: fitting.and_then(|one| one.method).unwrap_or(self.method),
            syn_per_second: fitting
                .and_then(|one| one.destination_syn_rate)
                .unwrap_or(self.destination_syn_rate),
        }
    }
}

impl Rule {
    /// How the destination is defended, and why not by cookies where they are wanted.
    pub(super) const fn defence(&self, obstacle: Option<Obstacle>) -> (Method, Option<Obstacle>) {
        let method = self.method.method(obstacle.is_none());
        match self.method {
            MethodChoice::Cookie => (method, obstacle),
            MethodChoice::Retransmission | MethodChoice::Rate => (method, None),
        }
    }
}
