//! The judge over simulated time: what comes to a destination, poll by poll.

use sensor_ebpf::abi::MAX_DESTINATIONS;

use super::*;
use crate::core::detect::syn_flood;

const SECOND: u64 = 1_000_000_000;
const POLL: u64 = SECOND / 4;

fn config() -> GuardConfig {
    GuardConfig {
        mode: Mode::Mitigate,
        ..GuardConfig::default()
    }
}

fn policy(config: &GuardConfig) -> Policy {
    Policy::new(config, &syn_flood::Config::default(), None)
}

fn key(last: u8, port: u16) -> DestinationKey {
    let address = std::net::Ipv4Addr::new(192, 0, 2, last);
    DestinationKey {
        address: address.to_ipv6_mapped().octets(),
        port,
        ..DestinationKey::default()
    }
}

/// One destination's kernel and its judge.
struct Simulation {
    judge: Judge,
    key: DestinationKey,
    counters: DestinationCounters,
    now: u64,
    changes: Vec<Change>,
}

/// What comes in a second.
#[derive(Clone, Copy, Default)]
struct Load {
    syn: u64,
    completed: u64,
    no_listener: u64,
    retransmission_admitted: u64,
}

fn flood(syn: u64) -> Load {
    Load {
        syn,
        ..Load::default()
    }
}

fn crowd(syn: u64) -> Load {
    Load {
        syn,
        completed: syn,
        ..Load::default()
    }
}

impl Simulation {
    fn new(config: &GuardConfig) -> Self {
        let mut simulation = Self {
            judge: Judge::new(policy(config), MAX_DESTINATIONS),
            key: key(1, 80),
            counters: DestinationCounters::default(),
            now: 100 * SECOND,
            changes: Vec::new(),
        };
        let changes = &mut simulation.changes;
        assert!(
            simulation
                .judge
                .suspect(simulation.key, simulation.now, &mut |change| {
                    changes.push(change);
                })
        );
        simulation.observe();
        simulation
    }

    fn observe(&mut self) {
        let changes = &mut self.changes;
        self.judge
            .observe(&self.key, self.now, &self.counters, &mut |change| {
                changes.push(change);
            });
    }

    /// Runs for some quarters of a second.
    fn quarters(&mut self, quarters: u64, load: Load) {
        for _ in 0..quarters {
            self.now += POLL;
            self.counters.syn += load.syn / 4;
            self.counters.completed += load.completed / 4;
            self.counters.cookie_no_listener += load.no_listener / 4;
            self.counters.retransmission_admitted += load.retransmission_admitted / 4;
            self.observe();
        }
    }

    fn seconds(&mut self, seconds: u64, load: Load) {
        self.quarters(4 * seconds, load);
    }

    fn state(&self) -> State {
        self.watched().state
    }

    fn watched(&self) -> &Watched {
        let mut watched = self.judge.watched();
        let (_, watched) = watched.find(|(key, _)| **key == self.key).unwrap();
        watched
    }

    /// States entered, with the seconds since the start.
    fn turns(&self) -> Vec<(u64, State)> {
        let turned = self.changes.iter().filter_map(|change| match change {
            Change::Turned(turn) => Some((turn.at / SECOND - 100, turn.to)),
            _ => None,
        });
        turned.collect()
    }

    fn methods(&self) -> Vec<Method> {
        let put = self.changes.iter().filter_map(|change| match change {
            Change::Put { method, .. } => Some(*method),
            _ => None,
        });
        put.collect()
    }
}

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
    let Some(Change::Turned(over)) = simulation
        .changes
        .iter()
        .rfind(|change| matches!(change, Change::Turned(_)))
    else {
        panic!("{:?}", simulation.changes)
    };
    assert_eq!(
        (over.from, over.method),
        (State::Mitigating, Method::Cookie)
    );
    assert!((2_000_000..2_200_000).contains(&over.did.syn), "{over:?}");
}

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
fn crowd_that_follows_a_flood_ends_the_defence() {
    let mut simulation = Simulation::new(&config());
    simulation.seconds(5, flood(50_000));
    assert_eq!(simulation.state(), State::Mitigating);
    // Where first SYNs are dropped, half of a crowd's SYNs are the second of their client.
    let retransmitting = Load {
        syn: 8_000,
        retransmission_admitted: 4_000,
        ..Load::default()
    };
    simulation.seconds(12, retransmitting);
    assert_eq!(simulation.state(), State::Normal);
}

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
        let config = GuardConfig { mode, ..config() };
        let changes = &mut simulation.changes;
        simulation
            .judge
            .configure(policy(&config), simulation.now, &mut |change| {
                changes.push(change);
            });
    };
    configure(&mut simulation, Mode::Monitor);
    assert_eq!(simulation.state(), State::Alert);
    configure(&mut simulation, Mode::Mitigate);
    assert_eq!(simulation.state(), State::Mitigating);
    configure(&mut simulation, Mode::Off);
    assert!(simulation.judge.is_empty());
    assert_eq!(
        simulation.changes.last(),
        Some(&Change::Remove(simulation.key))
    );
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

    let flood_config = syn_flood::Config::default();
    let obstacle = Some(Obstacle::SyncookiesOff);
    let mut simulation = Simulation::new(&config());
    simulation.judge = Judge::new(Policy::new(&config(), &flood_config, obstacle), 1);
    assert!(
        simulation
            .judge
            .suspect(simulation.key, simulation.now, &mut |_| {})
    );
    simulation.seconds(3, flood(50_000));
    assert_eq!(simulation.watched().method, Method::Retransmission);
    assert_eq!(simulation.watched().obstacle, obstacle);
}

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
    assert_eq!(
        simulation.changes.last(),
        Some(&Change::Remove(simulation.key))
    );
}

#[test]
fn room_is_bounded_and_the_busiest_win() {
    let mut judge = Judge::new(policy(&config()), 4);
    let mut removed = Vec::new();
    let mut out = |change| {
        if let Change::Remove(key) = change {
            removed.push(key.port);
        }
    };
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
    assert_eq!(removed, [4, 3]);
    assert_eq!(judge.stats().refused, 2);
    assert_eq!(judge.stats().displaced, 2);
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
    let last = simulation.changes.last();
    assert!(
        matches!(
            last,
            Some(Change::Put {
                method: Method::Rate,
                syn_per_second: 500,
                ..
            })
        ),
        "{last:?}"
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

#[test]
fn change_of_state_is_an_alert_with_its_story() {
    let mut simulation = Simulation::new(&config());
    simulation.seconds(3, flood(50_000));
    let turn = simulation.changes.iter().find_map(|change| match change {
        Change::Turned(turn) => Some(*turn),
        _ => None,
    });
    let flood = syn_flood::Config::default();
    let at = crate::core::time::Timestamp(1_700_000_000 * SECOND);
    let event = event(&turn.unwrap(), Mode::Mitigate, &flood, at);
    let json = serde_json::to_value(&event).unwrap();
    assert_eq!(json["event_type"], "alert");
    assert_eq!(json["alert"]["signature"], "SENSOR SYN flood mitigated");
    assert_eq!(json["alert"]["action"], "blocked");
    assert_eq!(json["dest_ip"], "192.0.2.1");
    assert_eq!(json["dest_port"], 80);
    let guard = &json["sensor"]["guard"];
    assert_eq!(guard["state"], "mitigating");
    assert_eq!(guard["previous_state"], "normal");
    assert_eq!(guard["method"], "cookie");
    assert_eq!(guard["counted"]["syn"], 50_000);
    assert_eq!(json["sensor"]["observed"]["syns_per_second"], 50_000);
}

#[test]
fn what_an_earlier_process_defended_stays_defended_until_it_is_calm() {
    let mut judge = Judge::new(policy(&config()), MAX_DESTINATIONS);
    let mut changes = Vec::new();
    let (key, mut now) = (key(1, 80), SECOND);
    judge.resume(key, Method::Retransmission, now, &mut |change| {
        changes.push(change);
    });
    // No moment in which it is only watched.
    let methods: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Put { method, .. } => Some(*method),
            _ => None,
        })
        .collect();
    assert!(!methods.is_empty());
    assert!(
        methods
            .iter()
            .all(|method| *method == Method::Retransmission)
    );
    assert_eq!(judge.states()[State::Mitigating as usize], 1);
    // The counters go on from where they were; nothing more comes.
    let counters = DestinationCounters {
        syn: 1_000_000,
        ..DestinationCounters::default()
    };
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

#[test]
fn what_is_not_to_be_guarded_any_more_is_let_go() {
    let off = GuardConfig {
        mode: Mode::Off,
        ..GuardConfig::default()
    };
    let mut judge = Judge::new(policy(&off), MAX_DESTINATIONS);
    let mut changes = Vec::new();
    judge.resume(key(1, 80), Method::Cookie, SECOND, &mut |change| {
        changes.push(change);
    });
    assert!(matches!(changes[..], [Change::Remove(_)]), "{changes:?}");
}
