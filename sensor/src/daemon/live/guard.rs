//! The SYN-flood guard in the live loop: carries the kernel's counters to the judge, and what it
//! decides into the kernel.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use sensor_ebpf::abi::{Destination, DestinationKey, MAX_DESTINATIONS, Method};

use super::Live;
use crate::{
    bpf::{DataPlane, PlaneError, SelfTest, SelfTestError, TcpSettings},
    config::Config,
    guard::{self, Change, Judge, Mode, Obstacle, Policy, Turn, method_name},
    metrics,
    source::live::monotonic_ns,
};

/// Suspects and counters are looked at so often.
const POLL: Duration = Duration::from_millis(200);

/// The judge, and what it needs to know of the system.
pub(in crate::daemon) struct Guard {
    judge: Judge,
    mode: Mode,
    /// Why no cookies are sent here.
    obstacle: Option<Obstacle>,
    trial: Trial,
    polled: Instant,
    /// Turns of the loop in which the kernel refused something.
    errors: u64,
}

/// Whether cookies have been shown to work, as they have to before the first is sent.
enum Trial {
    None,
    /// On a thread of its own: the verifier alone takes a second.
    Running(JoinHandle<Result<SelfTest, SelfTestError>>),
    Passed,
    Failed,
}

impl Trial {
    /// Begins the trial, or tells how it went. An error to start the thread is a failure.
    fn begin(&mut self) {
        if matches!(self, Self::None) {
            let thread = thread::Builder::new().name("sensor-selftest".to_owned());
            *self = match thread.spawn(DataPlane::guard_self_test) {
                Ok(running) => Self::Running(running),
                Err(error) => {
                    tracing::warn!("The self-test of SYN cookies could not begin: {error}");
                    Self::Failed
                }
            };
        }
    }

    /// Whether the trial has ended by now, and had not before.
    fn has_ended(&mut self) -> bool {
        let Self::Running(running) = self else {
            return false;
        };
        if !running.is_finished() {
            return false;
        }
        let Self::Running(running) = std::mem::replace(self, Self::Failed) else {
            return false;
        };
        match running.join() {
            Ok(Ok(passed)) => {
                tracing::info!(ipv6 = passed.ipv6, "SYN cookies work");
                *self = Self::Passed;
            }
            Ok(Err(error)) => tracing::warn!("{error}"),
            Err(_) => tracing::error!("The self-test of SYN cookies panicked"),
        }
        true
    }
}

impl Guard {
    /// Puts the configured guard into force, before anything is attached.
    pub(super) fn start(plane: &mut DataPlane, config: &Config) -> Result<Self, PlaneError> {
        let policy = Policy::new(&config.guard, &config.detect.syn_flood, None);
        let mut guard = Self {
            judge: Judge::new(policy, MAX_DESTINATIONS),
            mode: config.guard.mode,
            obstacle: None,
            trial: Trial::None,
            polled: Instant::now(),
            errors: 0,
        };
        guard.configure(plane, config, &mut |_| {})?;
        // What an earlier process has left under defence, if the data plane was pinned.
        let mut changes = Vec::new();
        for (key, destination) in plane.guard_destinations() {
            guard.judge.resume(
                *key,
                method_of(destination),
                monotonic_ns(),
                &mut |change| changes.push(change),
            );
        }
        guard.apply(plane, changes, &mut |_| {})?;
        Ok(guard)
    }

    /// Puts a configuration into force.
    pub(super) fn configure(
        &mut self,
        plane: &mut DataPlane,
        config: &Config,
        tell: &mut dyn FnMut(&Turn),
    ) -> Result<(), PlaneError> {
        self.mode = config.guard.mode;
        self.look_for_obstacles(config);
        let policy = Policy::new(&config.guard, &config.detect.syn_flood, self.obstacle);
        let settings = config.guard.settings(policy.suspect_per_window());
        let now = monotonic_ns();
        plane.guard_heartbeat(now)?;
        plane.guard_configure(&settings, self.mode.into())?;
        let mut changes = Vec::new();
        self.judge
            .configure(policy, now, &mut |change| changes.push(change));
        self.apply(plane, changes, tell)
    }

    /// Looks at the suspects and counters, and judges, if it is time to.
    pub(super) fn poll(
        &mut self,
        plane: &mut DataPlane,
        config: &Config,
        tell: &mut dyn FnMut(&Turn),
    ) {
        if self.mode == Mode::Off || self.polled.elapsed() < POLL {
            return;
        }
        self.polled = Instant::now();
        let mut result = Ok(());
        if self.trial.has_ended() {
            result = self.configure(plane, config, tell);
        }
        if let Err(error) = result.and_then(|()| self.judge(plane, tell)) {
            self.failed(&error);
        }
    }

    /// Begins to watch a destination that others have found flooded. False if it is not watched.
    pub(super) fn take(&mut self, plane: &mut DataPlane, address: [u8; 16], port: u16) -> bool {
        let key = DestinationKey {
            address,
            port,
            ..DestinationKey::default()
        };
        let mut changes = Vec::new();
        let is_watched = self
            .judge
            .suspect(key, monotonic_ns(), &mut |change| changes.push(change));
        // What it displaces was in the normal state: there is nothing to tell.
        if let Err(error) = self.apply(plane, changes, &mut |_| {}) {
            self.failed(&error);
        }
        is_watched
    }

    /// What metrics show.
    pub(super) fn snapshot(&self) -> metrics::Guard {
        metrics::Guard {
            mode: self.mode.as_str(),
            states: self.judge.states(),
            counted: *self.judge.counted(),
            stats: *self.judge.stats(),
            errors: self.errors,
        }
    }

    pub(in crate::daemon) const fn mode(&self) -> Mode {
        self.mode
    }

    pub(in crate::daemon) const fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle
    }

    pub(in crate::daemon) const fn judge_state(&self) -> &Judge {
        &self.judge
    }

    fn judge(
        &mut self,
        plane: &mut DataPlane,
        tell: &mut dyn FnMut(&Turn),
    ) -> Result<(), PlaneError> {
        let now = monotonic_ns();
        let mut changes = Vec::new();
        for (key, _) in plane.guard_suspects()? {
            self.judge
                .suspect(key, now, &mut |change| changes.push(change));
        }
        self.apply(plane, changes, tell)?;
        let mut changes = Vec::new();
        let keys: Vec<_> = self.judge.watched().map(|(key, _)| *key).collect();
        for key in keys {
            match plane.guard_counters(&key)? {
                Some(counters) => self.judge.observe(&key, now, &counters, &mut |change| {
                    changes.push(change);
                }),
                // The kernel refused it when it was new.
                None => self
                    .judge
                    .put_again(&key, &mut |change| changes.push(change)),
            }
        }
        self.apply(plane, changes, tell)?;
        plane.guard_heartbeat(now)
    }

    /// Every change is tried, whatever becomes of the others; the first error is reported.
    fn apply(
        &self,
        plane: &mut DataPlane,
        changes: Vec<Change>,
        tell: &mut dyn FnMut(&Turn),
    ) -> Result<(), PlaneError> {
        let mut result = Ok(());
        for change in changes {
            let done = match change {
                Change::Put {
                    key,
                    method,
                    syn_per_second,
                } => {
                    let destination = Destination {
                        method: method as u32,
                        syn_per_second,
                        ..Destination::default()
                    };
                    plane.guard_put(key, destination).map(|_| ())
                }
                Change::Remove(key) => plane.guard_remove(&key).map(|_| ()),
                Change::Turned(turn) => {
                    self.log(&turn);
                    tell(&turn);
                    Ok(())
                }
            };
            result = result.and(done);
        }
        result
    }

    fn look_for_obstacles(&mut self, config: &Config) {
        let former = self.obstacle;
        self.obstacle = if config.tap {
            Some(Obstacle::Mirror)
        } else if TcpSettings::read().syncookies == 0 {
            Some(Obstacle::SyncookiesOff)
        } else if self.mode == Mode::Mitigate && config.guard.may_send_cookies() {
            self.trial.begin();
            match self.trial {
                Trial::None | Trial::Running(_) => Some(Obstacle::Untested),
                Trial::Passed => None,
                Trial::Failed => Some(Obstacle::SelfTest),
            }
        } else {
            None
        };
        if self.mode == Mode::Mitigate
            && let Some(obstacle) = self.obstacle
            && former != self.obstacle
            && obstacle != Obstacle::Untested
        {
            tracing::warn!(
                "No SYN cookies: {}. Floods are met by retransmission",
                obstacle.explained()
            );
        }
    }

    fn log(&self, turn: &Turn) {
        let destination =
            std::net::SocketAddr::new(guard::address_of(&turn.key), turn.key.port).to_string();
        let (mode, method) = (self.mode.as_str(), method_name(turn.method));
        let (state, syns) = (turn.to.as_str(), turn.rates.syn);
        if turn.to == guard::State::Normal {
            tracing::info!(destination, "SYN flood over");
        } else {
            tracing::warn!(
                destination,
                mode,
                state,
                method,
                syns_per_second = syns,
                completed_percent = turn.rates.completed_percent,
                "SYN flood"
            );
        }
    }

    fn failed(&mut self, error: &PlaneError) {
        // Five times a second is too often to tell.
        if self.errors.is_multiple_of(300) {
            tracing::error!("SYN-flood guard: {error}");
        }
        self.errors += 1;
    }
}

/// How a destination is defended in the kernel.
fn method_of(destination: &Destination) -> Method {
    let methods = [Method::Cookie, Method::Retransmission, Method::Rate];
    methods
        .into_iter()
        .find(|method| *method as u32 == destination.method)
        .unwrap_or_default()
}

impl Live {
    /// Judges the destinations of SYNs, and tells of changes.
    pub(super) fn guard_destinations(&mut self) {
        let mut turns = Vec::new();
        self.guard
            .poll(&mut self.plane, &self.config, &mut |turn| turns.push(*turn));
        self.tell_turns(&turns);
    }

    pub(super) fn configure_guard(&mut self, config: &Config) -> Result<(), PlaneError> {
        let mut turns = Vec::new();
        let result = self
            .guard
            .configure(&mut self.plane, config, &mut |turn| turns.push(*turn));
        self.tell_turns(&turns);
        result
    }

    fn tell_turns(&mut self, turns: &[Turn]) {
        for turn in turns {
            let at = self.clock.wall(turn.at);
            let flood = &self.config.detect.syn_flood;
            let mut event = guard::event(turn, self.guard.mode, flood, at);
            // A destination belongs to no device; where there is but one, it came by that.
            event.in_iface = match self.interfaces.len() {
                1 => self.interfaces.values().next().cloned(),
                _ => None,
            };
            self.taker.take(event);
        }
    }
}
