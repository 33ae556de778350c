//! The judge over simulated time: what comes to a destination, poll by poll.

use sensor_ebpf::abi::{Destination, MAX_DESTINATIONS};

use super::*;
use crate::core::detect::syn_flood;

mod bounds;
mod crowds;
mod events;
mod methods;
mod restart;
mod thresholds;

const SECOND: u64 = 1_000_000_000;
const POLL: u64 = SECOND / 4;

/// By their numbers.
const METHODS: [Method; 4] = [
    Method::Watch,
    Method::Cookie,
    Method::Retransmission,
    Method::Rate,
];

fn config() -> GuardConfig {
    GuardConfig {
        mode: Mode::Mitigate,
        ..GuardConfig::default()
    }
}

fn policy(config: &GuardConfig) -> Policy {
    Policy::new(config, &syn_flood::Config::default(), Obstacles::default())
}

fn key(last: u8, port: u16) -> DestinationKey {
    let address = std::net::Ipv4Addr::new(192, 0, 2, last);
    DestinationKey {
        address: address.to_ipv6_mapped().octets(),
        port,
        ..DestinationKey::default()
    }
}

/// One destination, its kernel and its judge.
struct Simulation {
    judge: Judge,
    key: DestinationKey,
    counters: DestinationCounters,
    now: u64,
    turns: Vec<Turn>,
    kernel: Kernel,
}

/// What the kernel holds, and the methods that it was ever told.
#[derive(Default)]
struct Kernel {
    held: Vec<(DestinationKey, Destination)>,
    methods: Vec<Method>,
}

impl Kernel {
    /// Takes every step that the judge wants.
    fn follow(&mut self, judge: &Judge) {
        for step in steps(judge.wanted(), &self.held) {
            self.held.retain(|(key, _)| key != step.key());
            if let Step::Put(key, destination) = step {
                self.held.push((key, destination));
                self.methods.push(METHODS[destination.method as usize]);
            }
        }
    }
}

/// What comes in a second.
#[derive(Clone, Copy, Default)]
struct Load {
    syn: u64,
    completed: u64,
    no_listener: u64,
    retransmission_admitted: u64,
    known_admitted: u64,
}

fn flood(syn: u64) -> Load {
    Load {
        syn,
        ..Load::default()
    }
}

fn crowd(syn: u64) -> Load {
    Load {
        syn,
        completed: syn,
        ..Load::default()
    }
}

impl Simulation {
    fn new(config: &GuardConfig) -> Self {
        Self::by(policy(config))
    }

    fn by(policy: Policy) -> Self {
        Self::of(key(1, 80), policy)
    }

    fn of(key: DestinationKey, policy: Policy) -> Self {
        let mut simulation = Self {
            judge: Judge::new(policy, MAX_DESTINATIONS),
            key,
            counters: DestinationCounters::default(),
            now: 100 * SECOND,
            turns: Vec::new(),
            kernel: Kernel::default(),
        };
        let now = simulation.now;
        assert!(
            simulation
                .judge
                .suspect(key, now, &mut |turn| simulation.turns.push(turn))
        );
        simulation.kernel.follow(&simulation.judge);
        simulation.observe();
        simulation
    }

    fn observe(&mut self) {
        let turns = &mut self.turns;
        self.judge
            .observe(&self.key, self.now, &self.counters, &mut |turn| {
                turns.push(turn);
            });
        self.kernel.follow(&self.judge);
    }

    fn configure(&mut self, policy: Policy) {
        let turns = &mut self.turns;
        self.judge
            .configure(policy, self.now, &mut |turn| turns.push(turn));
        self.kernel.follow(&self.judge);
    }

    /// Runs for some quarters of a second.
    fn quarters(&mut self, quarters: u64, load: Load) {
        for _ in 0..quarters {
            self.now += POLL;
            self.counters.syn += load.syn / 4;
            self.counters.completed += load.completed / 4;
            self.counters.cookie_no_listener += load.no_listener / 4;
            self.counters.retransmission_admitted += load.retransmission_admitted / 4;
            self.counters.known_admitted += load.known_admitted / 4;
            self.observe();
        }
    }

    fn seconds(&mut self, seconds: u64, load: Load) {
        self.quarters(4 * seconds, load);
    }

    fn state(&self) -> State {
        self.watched().state
    }

    fn watched(&self) -> &Watched {
        let mut watched = self.judge.watched();
        let (_, watched) = watched.find(|(key, _)| **key == self.key).unwrap();
        watched
    }

    /// States entered, with the seconds since the start.
    fn turns(&self) -> Vec<(u64, State)> {
        let turns = self.turns.iter();
        turns
            .map(|turn| (turn.at / SECOND - 100, turn.to))
            .collect()
    }

    fn methods(&self) -> &[Method] {
        &self.kernel.methods
    }
}
