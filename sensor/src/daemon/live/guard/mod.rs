//! The SYN-flood guard in the live loop: carries the kernel's counters to the judge, and what it
//! decides into the kernel.

mod complaints;
mod kernel;
mod log;
#[cfg(test)]
mod tests;
mod trial;

use std::time::{Duration, Instant};

use sensor_ebpf::abi::{
    Destination, DestinationKey, GuardMode, GuardSettings, MAX_DESTINATIONS, Method,
};

use self::{
    complaints::{Complaints, Subject},
    kernel::Kernel,
    log::telling,
    trial::{Inherited, Trial},
};
use super::Live;
use crate::{
    bpf::{DataPlane, PlaneError, TcpSettings},
    config::Config,
    guard::{self, Judge, Mode, Obstacle, Obstacles, Policy, Step, Turn, steps},
    metrics,
    source::live::monotonic_ns,
};

/// Suspects and counters are looked at so often.
const POLL: Duration = Duration::from_millis(200);

/// The judge, and what it needs to know of the system.
pub(in crate::daemon) struct Guard {
    judge: Judge,
    mode: Mode,
    /// Why no cookies are sent here, where none are.
    obstacles: Obstacles,
    trial: Trial,
    polled: Instant,
    /// The kernel has not taken the settings, or not been given them.
    is_due: bool,
    complaints: Complaints,
}

impl Guard {
    /// Puts the configured guard into force, before anything is attached. Tells of what an earlier
    /// process has left under defence.
    ///
    /// Where that one mitigates on devices at this moment and this one shall not, the guard waits for
    /// [`Guard::settle`]: a start that fails ends no defence. Maps that replace others go on as those
    /// did until then.
    pub(super) fn start(
        plane: &mut DataPlane,
        config: &Config,
        tell: &mut dyn FnMut(&Turn),
    ) -> Result<Self, PlaneError> {
        let was_mitigating = plane.guard_mode() == GuardMode::Mitigate as u32;
        let mut guard = Self::resume(plane, config, was_mitigating, tell);
        guard.is_due = true;
        if !was_mitigating || config.guard.mode == Mode::Mitigate {
            guard.settle(plane, config, tell)?;
        } else if !plane.is_resumed() {
            plane.guard_heartbeat(monotonic_ns())?;
            plane.guard_configure(&guard.configured(config).0, GuardMode::Mitigate)?;
        }
        Ok(guard)
    }

    /// Puts into force what has waited for the devices to be attached.
    pub(super) fn settle(
        &mut self,
        kernel: &mut impl Kernel,
        config: &Config,
        tell: &mut dyn FnMut(&Turn),
    ) -> Result<(), PlaneError> {
        if self.is_due {
            self.configure(kernel, config, tell)?;
        }
        Ok(())
    }

    /// Goes on with what an earlier process has left under defence, if the data plane was pinned.
    fn resume(
        kernel: &impl Kernel,
        config: &Config,
        was_mitigating: bool,
        tell: &mut dyn FnMut(&Turn),
    ) -> Self {
        let held = kernel.held().to_vec();
        let sent_cookies = |ipv4: bool| {
            was_mitigating
                && held.iter().any(|(key, one)| {
                    guard::address_of(key).is_ipv4() == ipv4 && method_of(one) == Method::Cookie
                })
        };
        let inherited = Inherited {
            ipv4: sent_cookies(true),
            ipv6: sent_cookies(false),
        };
        let policy = Policy::new(
            &config.guard,
            &config.detect.syn_flood,
            Obstacles::default(),
        );
        let mut guard = Self {
            judge: Judge::new(policy, MAX_DESTINATIONS),
            mode: config.guard.mode,
            obstacles: Obstacles::default(),
            trial: Trial::new(inherited),
            polled: Instant::now(),
            is_due: false,
            complaints: Complaints::default(),
        };
        guard.look_for_obstacles(config);
        let policy = Policy::new(&config.guard, &config.detect.syn_flood, guard.obstacles);
        guard.judge = Judge::new(policy, MAX_DESTINATIONS);
        {
            let tell = &mut telling(guard.mode, tell);
            for (key, destination) in held {
                let method = method_of(&destination);
                guard.judge.resume(key, method, monotonic_ns(), tell);
            }
        }
        guard
    }

    /// Puts a configuration into force. If the kernel refuses it, [`Guard::poll`] tries again with
    /// the one that is in force by then.
    pub(super) fn configure(
        &mut self,
        kernel: &mut impl Kernel,
        config: &Config,
        tell: &mut dyn FnMut(&Turn),
    ) -> Result<(), PlaneError> {
        let result = self.put_into_force(kernel, config, tell);
        self.is_due = result.is_err();
        result
    }

    /// Brings judge and kernel in line with a configuration.
    ///
    /// Where nothing is mitigated, destinations bear the methods that would be used, whether a trial
    /// allows them or not. So they are set right before the kernel begins to act by them, and after
    /// it has ceased to.
    fn put_into_force(
        &mut self,
        kernel: &mut impl Kernel,
        config: &Config,
        tell: &mut dyn FnMut(&Turn),
    ) -> Result<(), PlaneError> {
        let now = monotonic_ns();
        let beaten = kernel.heartbeat(now);
        let mode = config.guard.mode;
        if mode != Mode::Mitigate {
            // If it goes on acting, so does the judgement that it acts by.
            kernel.configure(&self.configured(config).0, mode.into())?;
        }
        self.mode = mode;
        self.look_for_obstacles(config);
        let (settings, policy) = self.configured(config);
        self.judge
            .configure(policy, now, &mut telling(self.mode, tell));
        self.reconcile(kernel);
        if mode == Mode::Mitigate {
            kernel.configure(&settings, mode.into())?;
        }
        beaten
    }

    /// What a configuration means to the kernel, and to the judge.
    fn configured(&self, config: &Config) -> (GuardSettings, Policy) {
        let policy = Policy::new(&config.guard, &config.detect.syn_flood, self.obstacles);
        (config.guard.settings(policy.suspect_per_window()), policy)
    }

    /// Looks at the suspects and counters, and judges, if it is time to. Whatever the kernel
    /// refuses is tried again at the next poll.
    pub(super) fn poll(
        &mut self,
        kernel: &mut impl Kernel,
        config: &Config,
        tell: &mut dyn FnMut(&Turn),
    ) {
        if self.polled.elapsed() < POLL {
            return;
        }
        self.polled = Instant::now();
        self.judge_now(kernel, config, tell);
    }

    fn judge_now(
        &mut self,
        kernel: &mut impl Kernel,
        config: &Config,
        tell: &mut dyn FnMut(&Turn),
    ) {
        self.complaints.turn();
        if self.trial.has_ended() || self.is_due {
            let result = self.configure(kernel, config, tell);
            self.complaints.check(Subject::Settings, result);
        }
        if self.mode != Mode::Off {
            self.take_suspects(kernel, tell);
            // What is new has to be there before it is observed.
            self.reconcile(kernel);
            self.observe(kernel, tell);
        }
        self.reconcile(kernel);
    }

    /// Begins to watch a destination that others have found flooded. False if it is not watched.
    pub(super) fn take(&mut self, kernel: &mut impl Kernel, address: [u8; 16], port: u16) -> bool {
        let key = DestinationKey {
            address,
            port,
            ..DestinationKey::default()
        };
        // What it displaces was in the normal state: there is nothing to tell.
        let is_watched = self.judge.suspect(key, monotonic_ns(), &mut |_| {});
        self.reconcile(kernel);
        is_watched
    }

    /// What metrics show.
    pub(super) fn snapshot(&self) -> metrics::Guard {
        metrics::Guard {
            mode: self.mode.as_str(),
            states: self.judge.states(),
            counted: *self.judge.counted(),
            stats: *self.judge.stats(),
            errors: self.complaints.count(),
        }
    }

    pub(in crate::daemon) const fn mode(&self) -> Mode {
        self.mode
    }

    /// Why no cookies are sent over IPv4 and over IPv6, each for machines and in words.
    pub(in crate::daemon) fn obstacles(&self) -> [Option<(Obstacle, &str)>; 2] {
        let Obstacles { ipv4, ipv6 } = self.obstacles;
        let [why_ipv4, why_ipv6] = self.trial.failures();
        [(ipv4, why_ipv4), (ipv6, why_ipv6)].map(|(obstacle, why)| {
            let obstacle = obstacle?;
            let why = match obstacle {
                Obstacle::SelfTest => why,
                _ => None,
            };
            Some((obstacle, why.unwrap_or_else(|| obstacle.explained())))
        })
    }

    pub(in crate::daemon) const fn judge_state(&self) -> &Judge {
        &self.judge
    }

    fn take_suspects(&mut self, kernel: &mut impl Kernel, tell: &mut dyn FnMut(&Turn)) {
        let now = monotonic_ns();
        let tell = &mut telling(self.mode, tell);
        match kernel.suspects() {
            Ok(suspects) => {
                for key in suspects {
                    self.judge.suspect(key, now, tell);
                }
            }
            Err(error) => self.complaints.add(Subject::Suspects, None, &error),
        }
    }

    /// Shows the judge all counters, and the kernel that it has judged: unless it could not, as no
    /// counters were to be had.
    fn observe(&mut self, kernel: &mut impl Kernel, tell: &mut dyn FnMut(&Turn)) {
        let now = monotonic_ns();
        let tell = &mut telling(self.mode, tell);
        let keys: Vec<_> = self.judge.watched().map(|(key, _)| *key).collect();
        let (mut seen, mut unseen) = (0_usize, 0_usize);
        for key in keys {
            match kernel.counters(&key) {
                Ok(Some(counters)) => {
                    seen += 1;
                    self.judge.observe(&key, now, &counters, tell);
                }
                // The kernel refused it when it was new, and does nothing for it.
                Ok(None) => {}
                Err(error) => {
                    unseen += 1;
                    self.complaints.add(Subject::Counters(key), None, &error);
                }
            }
        }
        if seen > 0 || unseen == 0 {
            self.complaints
                .check(Subject::Heartbeat, kernel.heartbeat(now));
        }
    }

    /// Brings the kernel in line with the judge, as far as it lets itself be brought.
    fn reconcile(&mut self, kernel: &mut impl Kernel) {
        for step in steps(self.judge.wanted(), kernel.held()) {
            let done = match step {
                Step::Put(key, destination) => kernel.put(key, destination),
                Step::Remove(key) => kernel.remove(&key),
            };
            if let Err(error) = done {
                let subject = Subject::Destination(*step.key());
                self.complaints.add(subject, Some(step), &error);
            }
        }
    }

    fn look_for_obstacles(&mut self, config: &Config) {
        let former = self.obstacles;
        self.obstacles = if config.tap {
            Obstacles::both(Obstacle::Mirror)
        } else if TcpSettings::read().syncookies == 0 {
            Obstacles::both(Obstacle::SyncookiesOff)
        } else if self.mode == Mode::Mitigate && config.guard.may_send_cookies() {
            self.trial.begin();
            self.trial.obstacles()
        } else {
            Obstacles::default()
        };
        if self.mode != Mode::Mitigate {
            return;
        }
        let former = [former.ipv4, former.ipv6];
        for ((family, now), former) in ["IPv4", "IPv6"].iter().zip(self.obstacles()).zip(former) {
            if let Some((obstacle, why)) = now
                && obstacle != Obstacle::Untested
                && former != Some(obstacle)
            {
                tracing::warn!(
                    "No SYN cookies over {family}: {why}. Floods are met by retransmission"
                );
            }
        }
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

    /// Puts a configuration that was loaded anew into force.
    pub(super) fn configure_guard(&mut self, config: &Config) -> Result<(), PlaneError> {
        self.guard.trial.forget_failures();
        let mut turns = Vec::new();
        let result = self
            .guard
            .configure(&mut self.plane, config, &mut |turn| turns.push(*turn));
        self.tell_turns(&turns);
        result
    }

    pub(super) fn tell_turns(&mut self, turns: &[Turn]) {
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
