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
