//! Crowds of real clients, and attackers that look like one.

use super::*;

#[test]
fn flash_crowd_is_no_flood_however_it_begins() {
    for slow_quarters in 0..=2 {
        let mut simulation = Simulation::new(&config());
        // The first handshakes take their time; the rest keep pace.
        simulation.quarters(3, Load::default());
        simulation.quarters(slow_quarters, flood(20_000));
        simulation.seconds(30, crowd(20_000));
        assert!(simulation.turns().is_empty(), "{slow_quarters}");
    }
}

#[test]
fn crowd_that_follows_a_flood_ends_the_defence() {
    let mut simulation = Simulation::new(&config());
    simulation.seconds(5, flood(50_000));
    assert_eq!(simulation.state(), State::Mitigating);
    // Where first SYNs are dropped, half of a crowd's SYNs are the second of their client.
    let retransmitting = Load {
        syn: 8_000,
        retransmission_admitted: 4_000,
        completed: 4_000,
        ..Load::default()
    };
    simulation.seconds(12, retransmitting);
    assert_eq!(simulation.state(), State::Normal);
}

#[test]
fn repeating_each_syn_is_no_completion() {
    let mut simulation = Simulation::new(&config());
    simulation.seconds(3, flood(50_000));
    assert_eq!(simulation.state(), State::Mitigating);
    // An attacker who sends each SYN again after a second, and then from addresses that have
    // proved themselves so.
    let repeated = Load {
        syn: 8_000,
        retransmission_admitted: 4_000,
        ..Load::default()
    };
    simulation.seconds(20, repeated);
    let known = Load {
        syn: 8_000,
        known_admitted: 8_000,
        ..Load::default()
    };
    simulation.seconds(20, known);
    assert_eq!(simulation.state(), State::Mitigating);
    assert_eq!(simulation.turns().len(), 1);
    // Nor does one hide behind a few clients.
    let mixed = Load {
        completed: 1_000,
        ..repeated
    };
    simulation.seconds(20, mixed);
    assert_eq!(simulation.turns().len(), 1);
    simulation.seconds(12, flood(100));
    assert_ne!(simulation.state(), State::Mitigating);
}

#[test]
fn crowd_by_retransmission_has_completed_all_it_began() {
    let mut simulation = Simulation::new(&config());
    let crowd = Load {
        syn: 8_000,
        retransmission_admitted: 4_000,
        completed: 4_000,
        ..Load::default()
    };
    simulation.seconds(5, crowd);
    assert_eq!(simulation.watched().rates.completed_percent, 100);
}
