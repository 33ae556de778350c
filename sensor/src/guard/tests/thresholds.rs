//! What is a flood, and how long: rates, ratios, hysteresis, overrides.

use super::*;

#[test]
fn flood_is_met_after_a_second_and_left_alone_after_ten_calm_ones() {
    let mut simulation = Simulation::new(&config());
    simulation.seconds(2, crowd(50));
    simulation.quarters(3, flood(100_000));
    assert_eq!(simulation.state(), State::Normal, "too early to tell");
    simulation.quarters(2, flood(100_000));
    assert_eq!(simulation.state(), State::Mitigating);
    simulation.seconds(20, flood(100_000));
    assert_eq!(simulation.turns().len(), 1);
    simulation.seconds(9, crowd(50));
    assert_eq!(simulation.state(), State::Mitigating);
    simulation.seconds(3, crowd(50));
    assert_eq!(simulation.state(), State::Normal);
    assert_eq!(
        simulation.methods(),
        [Method::Watch, Method::Cookie, Method::Watch]
    );
    let over = simulation.turns.last().unwrap();
    assert_eq!(
        (over.from, over.method),
        (State::Mitigating, Method::Cookie)
    );
    assert!((2_000_000..2_200_000).contains(&over.did.syn), "{over:?}");
}

#[test]
fn flood_hides_behind_no_crowd() {
    let mut simulation = Simulation::new(&config());
    let mixed = Load {
        syn: 22_000,
        completed: 2_000,
        ..Load::default()
    };
    simulation.seconds(3, mixed);
    assert_eq!(simulation.state(), State::Mitigating);
}

#[test]
fn slow_ramp_is_told_before_it_is_met() {
    let mut simulation = Simulation::new(&config());
    for second in 0..60 {
        simulation.seconds(1, flood(second * 40));
    }
    let turns = simulation.turns();
    let states: Vec<_> = turns.iter().map(|(_, state)| *state).collect();
    assert_eq!(states, [State::Alert, State::Mitigating]);
    // 100 SYNs a second are reached in second 3, 1000 in second 25.
    assert!((3..=6).contains(&turns[0].0), "{turns:?}");
    assert!((25..=28).contains(&turns[1].0), "{turns:?}");
}

#[test]
fn rate_around_the_threshold_does_not_flap() {
    let mut simulation = Simulation::new(&config());
    for _ in 0..60 {
        simulation.seconds(1, flood(1100));
        simulation.seconds(1, flood(900));
    }
    assert_eq!(simulation.turns().len(), 1);
    // Calm, but never for long enough.
    for _ in 0..10 {
        simulation.seconds(8, flood(200));
        simulation.seconds(2, flood(1100));
    }
    assert_eq!(simulation.turns().len(), 1);
    // Not worth mitigating, and still a flood.
    simulation.seconds(12, flood(200));
    assert_eq!(simulation.state(), State::Alert);
    assert_eq!(simulation.watched().method, Method::Watch);
}

#[test]
fn overrides_hold_for_their_destination_alone() {
    let config = GuardConfig {
        destinations: vec![
            Override {
                address: "192.0.2.1".parse().unwrap(),
                port: Some(80),
                exempt: false,
                syn_rate: Some(100_000),
                method: Some(MethodChoice::Rate),
                destination_syn_rate: Some(500),
            },
            Override {
                address: "::ffff:192.0.2.2".parse().unwrap(),
                port: None,
                exempt: true,
                syn_rate: None,
                method: None,
                destination_syn_rate: None,
            },
        ],
        ..config()
    };
    let mut simulation = Simulation::new(&config);
    simulation.seconds(3, flood(50_000));
    assert_eq!(simulation.state(), State::Alert, "below its own threshold");
    simulation.seconds(3, flood(200_000));
    assert_eq!(simulation.state(), State::Mitigating);
    let (_, held) = simulation.kernel.held[0];
    assert_eq!(
        (held.method, held.syn_per_second),
        (Method::Rate as u32, 500)
    );
    let now = simulation.now;
    assert!(!simulation.judge.suspect(key(2, 22), now, &mut |_| {}));
    assert!(simulation.judge.suspect(key(1, 443), now, &mut |_| {}));
}

#[test]
fn suspects_are_named_at_half_of_the_lowest_rate() {
    // 50 SYNs a second are 6.7 within 134 ms.
    assert_eq!(policy(&config()).suspect_per_window(), 6);
    let config = GuardConfig {
        syn_rate: 10,
        ..config()
    };
    assert_eq!(policy(&config).suspect_per_window(), 2);
}
