//! What an earlier process has left in the kernel.

use super::*;

/// A judge that goes on with what the kernel holds, and what was told of it.
fn resumed(policy: Policy, kernel: &mut Kernel) -> (Judge, Vec<Turn>) {
    let mut judge = Judge::new(policy, MAX_DESTINATIONS);
    let mut turns = Vec::new();
    for (key, destination) in &kernel.held {
        let method = METHODS[destination.method as usize];
        judge.resume(*key, method, SECOND, &mut |turn| turns.push(turn));
    }
    kernel.follow(&judge);
    (judge, turns)
}

fn holding(method: Method) -> Kernel {
    let destination = Destination {
        slot: 17,
        method: method as u32,
        ..Destination::default()
    };
    Kernel {
        held: vec![(key(1, 80), destination)],
        methods: Vec::new(),
    }
}

#[test]
fn what_an_earlier_process_defended_stays_defended_until_it_is_calm() {
    for method in [Method::Cookie, Method::Retransmission, Method::Rate] {
        let mut kernel = holding(method);
        let (mut judge, turns) = resumed(policy(&config()), &mut kernel);
        assert_eq!(turns.len(), 1);
        assert!(turns[0].taken_over);
        // Nothing to be done: there is no moment in which it is only watched.
        assert_eq!(kernel.methods, []);
        assert_eq!(judge.states()[State::Mitigating as usize], 1);
        // The counters go on from where they were; nothing more comes.
        let counters = DestinationCounters {
            syn: 1_000_000,
            ..DestinationCounters::default()
        };
        let (key, mut now) = (key(1, 80), SECOND);
        let mut ignore = |_| {};
        judge.observe(&key, now, &counters, &mut ignore);
        now += SECOND;
        judge.observe(&key, now, &counters, &mut ignore);
        assert_eq!(judge.states()[State::Mitigating as usize], 1);
        for _ in 0..3600 {
            now += SECOND;
            judge.observe(&key, now, &counters, &mut ignore);
        }
        assert_eq!(judge.states(), [0; 3], "calm, and then forgotten");
    }
}

#[test]
fn cookies_that_do_not_work_any_more_end() {
    let flood = syn_flood::Config::default();
    for obstacle in [Obstacle::SyncookiesOff, Obstacle::Untested] {
        let policy = Policy::new(&config(), &flood, Obstacles::both(obstacle));
        let mut kernel = holding(Method::Cookie);
        let (judge, _) = resumed(policy, &mut kernel);
        assert_eq!(kernel.methods, [Method::Retransmission]);
        assert_eq!(judge.states()[State::Mitigating as usize], 1);
    }
}

#[test]
fn what_is_not_to_be_guarded_any_more_is_let_go() {
    let off = GuardConfig {
        mode: Mode::Off,
        ..GuardConfig::default()
    };
    let mut kernel = holding(Method::Cookie);
    let (judge, turns) = resumed(policy(&off), &mut kernel);
    assert!(judge.is_empty() && turns.is_empty());
    assert_eq!(kernel.held, []);
}
