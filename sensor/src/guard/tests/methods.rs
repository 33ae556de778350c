//! Modes and methods.

use super::*;

#[test]
fn monitor_tells_and_says_what_it_would_do() {
    let mut simulation = Simulation::new(&GuardConfig::default());
    simulation.seconds(3, flood(50_000));
    assert_eq!(simulation.state(), State::Alert);
    assert_eq!(simulation.watched().method, Method::Cookie);
    assert_eq!(simulation.methods(), [Method::Watch, Method::Cookie]);
}

#[test]
fn mode_changes_at_run_time() {
    let mut simulation = Simulation::new(&config());
    simulation.seconds(3, flood(50_000));
    let configure = |simulation: &mut Simulation, mode| {
        simulation.configure(policy(&GuardConfig { mode, ..config() }));
    };
    configure(&mut simulation, Mode::Monitor);
    assert_eq!(simulation.state(), State::Alert);
    configure(&mut simulation, Mode::Mitigate);
    assert_eq!(simulation.state(), State::Mitigating);
    configure(&mut simulation, Mode::Off);
    assert!(simulation.judge.is_empty());
    assert_eq!(simulation.kernel.held, []);
    let states: Vec<_> = simulation.turns().iter().map(|(_, state)| *state).collect();
    assert_eq!(
        states,
        [
            State::Mitigating,
            State::Alert,
            State::Mitigating,
            State::Normal
        ]
    );
    let (key, now) = (simulation.key, simulation.now);
    assert!(!simulation.judge.suspect(key, now, &mut |_| {}));
}

#[test]
fn without_a_listener_or_cookies_retransmission_serves() {
    let mut simulation = Simulation::new(&config());
    let unheard = Load {
        syn: 50_000,
        no_listener: 50_000,
        ..Load::default()
    };
    simulation.seconds(5, unheard);
    assert_eq!(
        simulation.methods(),
        [Method::Watch, Method::Cookie, Method::Retransmission]
    );
    assert_eq!(simulation.watched().obstacle, Some(Obstacle::NoListener));
    assert_eq!(simulation.state(), State::Mitigating);

    let obstacle = Obstacle::SyncookiesOff;
    let mut simulation = Simulation::by(hindered(Obstacles::both(obstacle)));
    simulation.seconds(3, flood(50_000));
    assert_eq!(simulation.watched().method, Method::Retransmission);
    assert_eq!(simulation.watched().obstacle, Some(obstacle));
}

fn hindered(obstacles: Obstacles) -> Policy {
    Policy::new(&config(), &syn_flood::Config::default(), obstacles)
}

#[test]
fn what_is_in_the_way_of_one_family_is_not_in_the_way_of_the_other() {
    let obstacle = Some(Obstacle::SelfTest);
    let only_ipv6 = Obstacles {
        ipv6: obstacle,
        ..Obstacles::default()
    };
    let mut simulation = Simulation::by(hindered(only_ipv6));
    simulation.seconds(3, flood(50_000));
    assert_eq!(simulation.watched().method, Method::Cookie);
    assert_eq!(simulation.watched().obstacle, None);

    let key = DestinationKey {
        address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets(),
        ..key(1, 80)
    };
    let mut simulation = Simulation::of(key, hindered(only_ipv6));
    simulation.seconds(3, flood(50_000));
    assert_eq!(simulation.watched().method, Method::Retransmission);
    assert_eq!(simulation.watched().obstacle, obstacle);
}
