//! A kernel that refuses things.

use std::io;

use sensor_ebpf::abi::{DestinationCounters, GuardSettings};

use super::*;

/// Keeps what it is told, but for what it refuses.
#[derive(Default)]
struct Fake {
    held: Vec<(DestinationKey, Destination)>,
    suspects: Vec<DestinationKey>,
    counters: DestinationCounters,
    mode: Option<GuardMode>,
    /// Methods that it held, each time that it was told to mitigate.
    acted_by: Vec<Vec<(u16, u32)>>,
    beats: u32,
    /// Ports of which nothing is put or removed.
    stuck: Vec<u16>,
    /// Ports of which no counters are to be had.
    mute: Vec<u16>,
    refuses_settings: bool,
}

/// Goes on with what the kernel holds.
fn resumed(kernel: &mut Fake, config: &Config, was_mitigating: bool) -> Result<Guard, PlaneError> {
    told(kernel, config, was_mitigating, &mut |_| {})
}

fn told(
    kernel: &mut Fake,
    config: &Config,
    was_mitigating: bool,
    tell: &mut dyn FnMut(&Turn),
) -> Result<Guard, PlaneError> {
    let mut guard = Guard::resume(kernel, config, was_mitigating, tell);
    guard.configure(kernel, config, tell)?;
    Ok(guard)
}

fn refused() -> PlaneError {
    PlaneError {
        what: "test",
        source: io::Error::other("refused"),
    }
}

impl Fake {
    fn check(&self, key: &DestinationKey) -> Result<(), PlaneError> {
        if self.stuck.contains(&key.port) {
            return Err(refused());
        }
        Ok(())
    }

    /// Ports that it holds, each with the number of its method.
    fn holds(&self) -> Vec<(u16, u32)> {
        let mut held: Vec<_> = self
            .held
            .iter()
            .map(|(key, destination)| (key.port, destination.method))
            .collect();
        held.sort_unstable();
        held
    }
}

impl Kernel for Fake {
    fn configure(&mut self, _: &GuardSettings, mode: GuardMode) -> Result<(), PlaneError> {
        if self.refuses_settings {
            return Err(refused());
        }
        self.mode = Some(mode);
        if mode == GuardMode::Mitigate {
            self.acted_by.push(self.holds());
        }
        Ok(())
    }

    fn held(&self) -> &[(DestinationKey, Destination)] {
        &self.held
    }

    fn put(&mut self, key: DestinationKey, destination: Destination) -> Result<(), PlaneError> {
        self.check(&key)?;
        self.held.retain(|(held, _)| *held != key);
        self.held.push((key, destination));
        Ok(())
    }

    fn remove(&mut self, key: &DestinationKey) -> Result<(), PlaneError> {
        self.check(key)?;
        self.held.retain(|(held, _)| held != key);
        Ok(())
    }

    fn suspects(&mut self) -> Result<Vec<DestinationKey>, PlaneError> {
        Ok(std::mem::take(&mut self.suspects))
    }

    fn counters(
        &mut self,
        key: &DestinationKey,
    ) -> Result<Option<DestinationCounters>, PlaneError> {
        if self.mute.contains(&key.port) {
            return Err(refused());
        }
        let is_held = self.held.iter().any(|(held, _)| held == key);
        Ok(is_held.then_some(self.counters))
    }

    fn heartbeat(&mut self, _: u64) -> Result<(), PlaneError> {
        self.beats += 1;
        Ok(())
    }
}

const fn key(port: u16) -> DestinationKey {
    DestinationKey {
        address: [7; 16],
        port,
        _pad: 0,
    }
}

/// Defends by retransmission, which needs no self-test.
fn config(mode: Mode) -> Config {
    let mut config = Config::default();
    config.guard.mode = mode;
    config.guard.method = guard::MethodChoice::Retransmission;
    config
}

const WATCH: u32 = Method::Watch as u32;
const RETRANSMISSION: u32 = Method::Retransmission as u32;

fn judge(guard: &mut Guard, kernel: &mut Fake, config: &Config) {
    guard.judge_now(kernel, config, &mut |_| {});
}

#[test]
fn what_the_kernel_refused_is_done_when_it_lets_itself_be_told() {
    let mitigate = config(Mode::Mitigate);
    let mut kernel = Fake {
        suspects: vec![key(1), key(2)],
        stuck: vec![1],
        ..Fake::default()
    };
    let mut guard = resumed(&mut kernel, &mitigate, false).expect("a guard");
    judge(&mut guard, &mut kernel, &mitigate);
    assert_eq!(kernel.holds(), [(2, WATCH)], "the other one is served");
    judge(&mut guard, &mut kernel, &mitigate);
    // Each poll tries before and after it judges.
    assert_eq!(guard.snapshot().errors, 4);
    kernel.stuck.clear();
    judge(&mut guard, &mut kernel, &mitigate);
    assert_eq!(kernel.holds(), [(1, WATCH), (2, WATCH)]);
    assert_eq!(guard.snapshot().errors, 4);
    // What shall not be guarded any more goes as soon as it can.
    let off = config(Mode::Off);
    kernel.stuck = vec![2];
    guard
        .configure(&mut kernel, &off, &mut |_| {})
        .expect("the settings are taken");
    assert_eq!(kernel.holds(), [(2, WATCH)]);
    kernel.stuck.clear();
    judge(&mut guard, &mut kernel, &off);
    assert_eq!(kernel.holds(), []);
}

#[test]
fn one_that_cannot_be_judged_holds_back_neither_the_others_nor_the_heartbeat() {
    let config = config(Mode::Mitigate);
    let mut kernel = Fake {
        suspects: vec![key(1), key(2)],
        ..Fake::default()
    };
    let mut guard = resumed(&mut kernel, &config, false).expect("a guard");
    judge(&mut guard, &mut kernel, &config);
    kernel.mute = vec![1];
    let (beats, begun) = (kernel.beats, Instant::now());
    while kernel.holds() != [(1, WATCH), (2, RETRANSMISSION)] {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{:?}",
            kernel.held
        );
        kernel.counters.syn += 1_000_000;
        judge(&mut guard, &mut kernel, &config);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(kernel.beats > beats);
    // Nothing was judged: the kernel shall know.
    kernel.mute = vec![1, 2];
    let beats = kernel.beats;
    judge(&mut guard, &mut kernel, &config);
    assert_eq!(kernel.beats, beats);
}

#[test]
fn settings_that_were_refused_are_tried_again() {
    let monitor = config(Mode::Monitor);
    let mut kernel = Fake::default();
    let mut guard = resumed(&mut kernel, &monitor, false).expect("a guard");
    kernel.refuses_settings = true;
    let mitigate = config(Mode::Mitigate);
    assert!(
        guard
            .configure(&mut kernel, &mitigate, &mut |_| {})
            .is_err()
    );
    judge(&mut guard, &mut kernel, &mitigate);
    assert_eq!(kernel.mode, Some(GuardMode::Monitor));
    kernel.refuses_settings = false;
    judge(&mut guard, &mut kernel, &mitigate);
    assert_eq!(kernel.mode, Some(GuardMode::Mitigate));
    let errors = guard.snapshot().errors;
    judge(&mut guard, &mut kernel, &mitigate);
    assert_eq!(guard.snapshot().errors, errors);
}

#[test]
fn what_was_defended_is_so_from_the_first_moment() {
    let left = Destination {
        slot: 3,
        method: RETRANSMISSION,
        ..Destination::default()
    };
    let mut kernel = Fake {
        held: vec![(key(1), left)],
        // It must not even try.
        stuck: vec![1],
        ..Fake::default()
    };
    let config = config(Mode::Mitigate);
    let mut turns = Vec::new();
    let tell = &mut |turn: &Turn| turns.push(*turn);
    let guard = told(&mut kernel, &config, true, tell).expect("a guard");
    let told: Vec<_> = turns
        .iter()
        .map(|turn| (turn.to, turn.taken_over))
        .collect();
    assert_eq!(told, [(guard::State::Mitigating, true)]);
    assert_eq!(kernel.held, [(key(1), left)]);
    assert_eq!(guard.snapshot().errors, 0);
    assert_eq!(guard.snapshot().states, [0, 0, 1]);
}

/// While it only watches, the kernel holds cookies for what is under attack; none may be sent before
/// a trial has allowed them.
#[test]
fn no_method_acts_that_is_not_allowed() {
    let cookies = |mode| {
        let mut config = config(mode);
        config.guard.method = guard::MethodChoice::Cookie;
        config
    };
    let left = Destination {
        slot: 3,
        method: Method::Cookie as u32,
        ..Destination::default()
    };
    let watching = || Fake {
        held: vec![(key(1), left)],
        mode: Some(GuardMode::Monitor),
        ..Fake::default()
    };
    // Started anew with another mode, and configured anew.
    let mut kernel = watching();
    let tell = &mut |_: &Turn| {};
    told(&mut kernel, &cookies(Mode::Mitigate), false, tell).expect("a guard");
    assert_eq!(kernel.acted_by, [[(1, RETRANSMISSION)]]);
    let mut kernel = watching();
    let mut guard = told(&mut kernel, &cookies(Mode::Monitor), false, tell).expect("a guard");
    assert_eq!(kernel.holds(), [(1, Method::Cookie as u32)]);
    guard
        .configure(&mut kernel, &cookies(Mode::Mitigate), tell)
        .expect("settings");
    assert_eq!(kernel.acted_by, [[(1, RETRANSMISSION)]]);
}

/// A kernel that cannot be told to cease goes on by what a trial has allowed.
#[test]
fn a_kernel_that_goes_on_acting_keeps_its_methods() {
    let mut mitigate = config(Mode::Mitigate);
    mitigate.guard.method = guard::MethodChoice::Cookie;
    let left = Destination {
        slot: 3,
        method: RETRANSMISSION,
        ..Destination::default()
    };
    let mut kernel = Fake {
        held: vec![(key(1), left)],
        ..Fake::default()
    };
    let tell = &mut |_: &Turn| {};
    let mut guard = told(&mut kernel, &mitigate, true, tell).expect("a guard");
    assert_eq!(
        kernel.holds(),
        [(1, RETRANSMISSION)],
        "nothing is tried yet"
    );
    kernel.refuses_settings = true;
    let mut monitor = mitigate.clone();
    monitor.guard.mode = Mode::Monitor;
    assert!(guard.configure(&mut kernel, &monitor, tell).is_err());
    assert_eq!(kernel.holds(), [(1, RETRANSMISSION)]);
    assert_eq!(guard.mode(), Mode::Mitigate);
    kernel.refuses_settings = false;
    judge(&mut guard, &mut kernel, &monitor);
    assert_eq!(guard.mode(), Mode::Monitor);
}
