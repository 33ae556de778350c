//! What counters, clocks and many destinations may do.

use super::*;

#[test]
fn counters_that_begin_anew_are_no_flood() {
    let mut simulation = Simulation::new(&config());
    simulation.seconds(3, crowd(900));
    let total = simulation.watched().total();
    simulation.counters = DestinationCounters {
        syn: 17,
        completed: 17,
        ..DestinationCounters::default()
    };
    simulation.seconds(3, crowd(900));
    assert!(simulation.turns().is_empty());
    assert!(simulation.watched().total().syn >= total.syn);
    assert!(simulation.watched().rates.syn < 1000);
}

#[test]
fn time_that_stands_still_or_runs_back_does_no_harm() {
    let mut simulation = Simulation::new(&config());
    for step in [0, POLL, 0] {
        simulation.now -= step;
        simulation.counters.syn += 100;
        simulation.observe();
    }
    assert!(simulation.turns().is_empty());
}

#[test]
fn quiet_destinations_are_forgotten() {
    let mut simulation = Simulation::new(&config());
    simulation.seconds(5, crowd(100));
    simulation.seconds(59, Load::default());
    assert!(!simulation.judge.is_empty());
    simulation.seconds(3, Load::default());
    assert!(simulation.judge.is_empty());
    assert_eq!(simulation.kernel.held, []);
}

#[test]
fn room_is_bounded_and_the_busiest_win() {
    let mut judge = Judge::new(policy(&config()), 4);
    let mut out = |_| {};
    let mut now = SECOND;
    for port in 1..=4 {
        assert!(judge.suspect(key(1, port), now, &mut out));
    }
    assert!(!judge.suspect(key(1, 5), now, &mut out), "too new to judge");
    // Port 1 is flooded, port 2 has a crowd, ports 3 and 4 have little.
    let mut counters = [DestinationCounters::default(); 4];
    for _ in 0..12 {
        now += POLL;
        for (index, counters) in counters.iter_mut().enumerate() {
            let syns = [10_000, 1_000, 10, 5][index];
            counters.syn += syns;
            counters.completed += if index == 0 { 0 } else { syns };
            let port = u16::try_from(index + 1).unwrap();
            judge.observe(&key(1, port), now, counters, &mut out);
        }
    }
    assert_eq!(judge.states(), [3, 0, 1]);
    assert!(judge.suspect(key(1, 5), now, &mut out));
    assert!(judge.suspect(key(1, 5), now, &mut out), "once is enough");
    assert!(judge.suspect(key(1, 6), now, &mut out));
    assert!(!judge.suspect(key(1, 7), now, &mut out), "nobody can go");
    assert_eq!(judge.len(), 4);
    let mut ports: Vec<_> = judge.wanted().map(|(key, _)| key.port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [1, 2, 5, 6]);
    assert_eq!(judge.stats().refused, 2);
    assert_eq!(judge.stats().displaced, 2);
}
