//! The judge: from counters to states, with hysteresis.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use sensor_ebpf::abi::{Destination, DestinationCounters, DestinationKey, Method};

use super::{
    Mode, Obstacle, Policy, Rates, State, Turn,
    policy::Rule,
    window::{Window, sum},
};

const SECOND: u64 = 1_000_000_000;
/// A destination without any SYN for so long is forgotten.
const QUIET: u64 = 60 * SECOND;
/// From this share on, SYNs without a listener show that cookies do not serve there.
const NO_LISTENER_PERCENT: u64 = 50;

/// Watches destinations and decides what is done about them; see the [module](super).
#[derive(Debug)]
pub struct Judge {
    policy: Policy,
    watched: HashMap<DestinationKey, Watched, RandomState>,
    capacity: usize,
    counted: DestinationCounters,
    stats: Stats,
}

/// What the judge did, and could not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Suspects for which there was no room.
    pub refused: u64,
    /// Quiet destinations that made room for others.
    pub displaced: u64,
    /// Changes of state, by the new state.
    pub turns: [u64; 3],
}

/// What is known of one destination.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    pub state: State,
    /// Kernel time at which the state began, nanoseconds.
    pub since: u64,
    /// As in [`Turn::method`].
    pub method: Method,
    pub obstacle: Option<Obstacle>,
    /// The last window's.
    pub rates: Rates,
    /// Counted since the state began.
    pub did: DestinationCounters,
    /// Counted in earlier states.
    before: DestinationCounters,
    rule: Rule,
    window: Window,
    told: Trip,
    armed: Trip,
    /// When SYNs were last counted.
    heard: u64,
}

impl Watched {
    /// Counted since the destination is watched.
    #[must_use]
    pub fn total(&self) -> DestinationCounters {
        sum(&self.before, &self.did)
    }
}

/// A switch with hysteresis: on at once, off after a calm time.
#[derive(Clone, Copy, Debug, Default)]
struct Trip {
    on: bool,
    calm_since: Option<u64>,
}

impl Trip {
    fn judge(&mut self, rates: &Rates, threshold: u64, policy: &Policy, now: u64) {
        let is_flooded = rates.completed_percent < policy.completed_percent;
        if is_flooded && rates.syn >= threshold {
            *self = Self {
                on: true,
                calm_since: None,
            };
        } else if self.on && (!is_flooded || rates.syn < threshold / 2) {
            let since = *self.calm_since.get_or_insert(rates.since);
            self.on = now.saturating_sub(since) < policy.calm_ns;
        } else {
            self.calm_since = None;
        }
    }
}

impl Judge {
    /// A judge of at most `capacity` destinations at once.
    #[must_use]
    pub fn new(policy: Policy, capacity: usize) -> Self {
        Self {
            policy,
            watched: HashMap::default(),
            capacity,
            counted: DestinationCounters::default(),
            stats: Stats::default(),
        }
    }

    /// Puts new thresholds into force.
    pub fn configure(&mut self, policy: Policy, now: u64, out: &mut dyn FnMut(Turn)) {
        self.policy = policy;
        let keys: Vec<_> = self.watched.keys().copied().collect();
        for key in keys {
            let rule = self.policy.rule(&key);
            if self.policy.mode == Mode::Off || rule.exempt {
                self.forget(&key, now, out);
            } else if let Some(watched) = self.watched.get_mut(&key) {
                watched.rule = rule;
                // The method is chosen anew.
                watched.obstacle = None;
                watched.settle(&key, &self.policy, &mut self.stats, now, true, out);
            }
        }
    }

    /// Begins to watch a destination that gets many SYNs. False if it is not watched: there is no
    /// room for it, or it is to be left alone.
    pub fn suspect(&mut self, key: DestinationKey, now: u64, out: &mut dyn FnMut(Turn)) -> bool {
        if self.watched.contains_key(&key) {
            return true;
        }
        let rule = self.policy.rule(&key);
        if self.policy.mode == Mode::Off || rule.exempt {
            return false;
        }
        if self.watched.len() >= self.capacity && !self.displace(now, out) {
            self.stats.refused += 1;
            return false;
        }
        let watched = Watched {
            state: State::Normal,
            since: now,
            method: Method::Watch,
            obstacle: None,
            rates: Rates::default(),
            did: DestinationCounters::default(),
            before: DestinationCounters::default(),
            rule,
            window: Window::new(now),
            told: Trip::default(),
            armed: Trip::default(),
            heard: now,
        };
        self.watched.insert(key, watched);
        true
    }

    /// Goes on with a destination as an earlier process left it in the kernel: what is defended
    /// stays defended until it has been calm for long enough, with no moment in between.
    pub fn resume(
        &mut self,
        key: DestinationKey,
        method: Method,
        now: u64,
        out: &mut dyn FnMut(Turn),
    ) {
        self.suspect(key, now, out);
        let Some(watched) = self.watched.get_mut(&key) else {
            return;
        };
        let on = method != Method::Watch;
        watched.method = method;
        (watched.told.on, watched.armed.on) = (on, on);
        // A cookie may not serve any more; everything else stays what it was.
        let again = method == Method::Cookie && self.policy.obstacles.of(&key).is_some();
        let out = &mut |turn| {
            out(Turn {
                taken_over: true,
                ..turn
            });
        };
        watched.settle(&key, &self.policy, &mut self.stats, now, again, out);
    }

    /// Takes a destination's counters, as they are at `now`.
    pub fn observe(
        &mut self,
        key: &DestinationKey,
        now: u64,
        counters: &DestinationCounters,
        out: &mut dyn FnMut(Turn),
    ) {
        let Some(watched) = self.watched.get_mut(key) else {
            return;
        };
        let (new, rates) = watched.window.add(now, counters, self.policy.alert_rate);
        watched.did = sum(&watched.did, &new);
        self.counted = sum(&self.counted, &new);
        if new.syn > 0 {
            watched.heard = now;
        }
        let Some(rates) = rates else {
            return;
        };
        watched.rates = rates;
        let policy = &self.policy;
        watched.told.judge(
            &rates,
            policy.alert_rate.min(watched.rule.arm_rate),
            policy,
            now,
        );
        watched
            .armed
            .judge(&rates, watched.rule.arm_rate, policy, now);
        let is_unheard = rates.no_listener_percent >= NO_LISTENER_PERCENT;
        let is_new = watched.method == Method::Cookie && is_unheard;
        if is_new {
            watched.obstacle = Some(Obstacle::NoListener);
        }
        watched.settle(key, policy, &mut self.stats, now, is_new, out);
        if watched.state == State::Normal && now.saturating_sub(watched.heard) >= QUIET {
            self.forget(key, now, out);
        }
    }

    /// What was counted of all destinations since the start, forgotten ones included.
    #[must_use]
    pub const fn counted(&self) -> &DestinationCounters {
        &self.counted
    }

    /// The destinations with what is known of them, in no particular order.
    pub fn watched(&self) -> impl Iterator<Item = (&DestinationKey, &Watched)> {
        self.watched.iter()
    }

    /// What the kernel should hold, all of it, in no particular order. The slots are not the
    /// judge's to give.
    pub fn wanted(&self) -> impl Iterator<Item = (DestinationKey, Destination)> {
        self.watched
            .iter()
            .map(|(key, watched)| (*key, watched.destination()))
    }

    /// How many destinations are watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.watched.len()
    }

    /// Whether none is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Destinations by [`State`].
    #[must_use]
    pub fn states(&self) -> [u64; 3] {
        let mut states = [0; 3];
        for watched in self.watched.values() {
            states[watched.state as usize] += 1;
        }
        states
    }

    /// Makes room by forgetting the destination that matters least, if one does not matter: one in
    /// the normal state that has had a whole window, with fewer SYNs than a flood is told from.
    fn displace(&mut self, now: u64, out: &mut dyn FnMut(Turn)) -> bool {
        let floor = self.policy.alert_rate;
        let least = self
            .watched
            .iter()
            .filter(|(_, one)| one.state == State::Normal && one.rates.since != 0)
            .filter(|(_, one)| one.rates.syn < floor)
            .min_by_key(|(key, one)| (one.rates.syn, one.heard, **key))
            .map(|(key, _)| *key);
        let Some(key) = least else {
            return false;
        };
        self.stats.displaced += 1;
        self.forget(&key, now, out);
        true
    }

    fn forget(&mut self, key: &DestinationKey, now: u64, out: &mut dyn FnMut(Turn)) {
        let Some(mut watched) = self.watched.remove(key) else {
            return;
        };
        watched.turn(key, State::Normal, Method::Watch, &mut self.stats, now, out);
    }
}

impl Watched {
    /// Brings state and method in line with the switches, and tells of it. `again`: the method may
    /// change although the destination is armed already.
    fn settle(
        &mut self,
        key: &DestinationKey,
        policy: &Policy,
        stats: &mut Stats,
        now: u64,
        again: bool,
        out: &mut dyn FnMut(Turn),
    ) {
        let method = match (self.armed.on, self.method) {
            (false, _) => {
                self.obstacle = None;
                Method::Watch
            }
            (true, method) if method != Method::Watch && !again => method,
            (true, _) => {
                let obstacle = self.obstacle.or_else(|| policy.obstacles.of(key));
                let (method, obstacle) = self.rule.defence(obstacle);
                self.obstacle = obstacle;
                method
            }
        };
        let state = match (self.armed.on, self.told.on) {
            (true, _) if policy.mode == Mode::Mitigate => State::Mitigating,
            (false, false) => State::Normal,
            _ => State::Alert,
        };
        self.turn(key, state, method, stats, now, out);
    }

    /// Enters a state, if it is another one.
    fn turn(
        &mut self,
        key: &DestinationKey,
        state: State,
        method: Method,
        stats: &mut Stats,
        now: u64,
        out: &mut dyn FnMut(Turn),
    ) {
        let former = std::mem::replace(&mut self.method, method);
        if state == self.state {
            return;
        }
        out(Turn {
            key: *key,
            from: self.state,
            to: state,
            // What was done, where it ends.
            method: if method == Method::Watch {
                former
            } else {
                method
            },
            obstacle: self.obstacle,
            at: now,
            since: self.since,
            rates: self.rates,
            did: self.did,
            taken_over: false,
        });
        stats.turns[state as usize] += 1;
        self.before = self.total();
        self.did = DestinationCounters::default();
        self.state = state;
        self.since = now;
    }

    /// What the kernel should do for it.
    const fn destination(&self) -> Destination {
        Destination {
            slot: 0,
            method: self.method as u32,
            syn_per_second: self.rule.syn_per_second,
            flags: 0,
        }
    }
}
