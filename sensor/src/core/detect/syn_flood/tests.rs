use sensor_ebpf::abi::FlowKey;

use super::*;

const SYN: u8 = 2;
const IFINDEX: u32 = 7;

fn flow(client: u16, syn: u32, tcp_flags: u8) -> KernelFlow {
    let mut key = FlowKey {
        dst_port: 80,
        src_port: client,
        ifindex: IFINDEX,
        protocol: TCP,
        ..FlowKey::default()
    };
    key.dst = std::net::Ipv4Addr::new(192, 0, 2, 1)
        .to_ipv6_mapped()
        .octets();
    KernelFlow {
        key,
        packets: u64::from(syn),
        bytes: 60 * u64::from(syn),
        first: Timestamp(0),
        last: Timestamp(0),
        tcp_flags,
        syn,
        syn_ack: 0,
        fin: 0,
        rst: 0,
        by_cookie: false,
    }
}

/// A generation of one second that ends at `second`.
fn generation(second: u64, flows: impl IntoIterator<Item = KernelFlow>) -> Drain {
    let first = Timestamp((second - 1) * SECOND);
    let flows = flows
        .into_iter()
        .map(|flow| KernelFlow { first, ..flow })
        .collect();
    Drain {
        epoch: second,
        closed: Timestamp(second * SECOND),
        flows,
    }
}

fn bare_syns(count: u16) -> impl Iterator<Item = KernelFlow> {
    (0..count).map(|client| flow(client, 1, SYN))
}

fn connections(count: u16) -> impl Iterator<Item = KernelFlow> {
    (0..count).map(|client| flow(client, 1, SYN | ACK))
}

fn alerts(detector: &mut SynFlood, drain: &Drain) -> Vec<Event> {
    let mut events = Vec::new();
    let name = |ifindex| (ifindex == IFINDEX).then(|| "eth0".into());
    detector.on_drain(drain, &name, &mut |_, _| false, &mut |event| {
        events.push(event);
    });
    events
}

fn detector() -> SynFlood {
    SynFlood::new(Config::default())
}

#[test]
fn flood_is_seen_after_one_window() {
    let mut detector = detector();
    assert!(alerts(&mut detector, &generation(1, bare_syns(1000))).is_empty());
    let events = alerts(&mut detector, &generation(2, bare_syns(1000)));
    let [event] = &events[..] else {
        panic!("one alert: {events:?}")
    };
    let json = serde_json::to_value(event).unwrap();
    assert_eq!(json["event_type"], "alert");
    assert_eq!(json["dest_ip"], "192.0.2.1");
    assert_eq!(json["dest_port"], 80);
    assert_eq!(json["proto"], "TCP");
    assert_eq!(json["in_iface"], "eth0");
    assert_eq!(json["alert"]["signature"], "SENSOR SYN flood");
    assert_eq!(json["alert"]["signature_id"], Signature::Seen as u32);
    assert_eq!(json["alert"]["action"], "allowed");
    assert_eq!(json["sensor"]["observed"]["syns_per_second"], 1000);
    assert_eq!(json["sensor"]["observed"]["completed_percent"], 0);
    assert_eq!(detector.stats().flooded, 1);
}

#[test]
fn crowd_of_real_clients_is_none() {
    let mut detector = detector();
    for second in 1..10 {
        assert!(alerts(&mut detector, &generation(second, connections(5000))).is_empty());
    }
}

#[test]
fn real_clients_do_not_hide_a_flood() {
    let mut detector = detector();
    let mixed = || bare_syns(9000).chain(connections(1000));
    alerts(&mut detector, &generation(1, mixed()));
    assert_eq!(alerts(&mut detector, &generation(2, mixed())).len(), 1);
}

#[test]
fn one_source_that_repeats_itself_is_a_flood_too() {
    let mut detector = detector();
    alerts(&mut detector, &generation(1, [flow(1, 1000, SYN)]));
    assert_eq!(
        alerts(&mut detector, &generation(2, [flow(1, 1000, SYN | ACK)])).len(),
        1
    );
}

#[test]
fn few_syns_are_none() {
    let mut detector = detector();
    for second in 1..10 {
        assert!(alerts(&mut detector, &generation(second, bare_syns(99))).is_empty());
    }
}

#[test]
fn hysteresis_and_cooldown() {
    let mut detector = detector();
    let mut alerted = Vec::new();
    let mut flooded = Vec::new();
    for second in 1..=130 {
        // A flood, a rate between the two thresholds, a quiet time, and a flood again.
        let rate = match second {
            11..=20 => 60,
            21..=100 => 10,
            _ => 1000,
        };
        if !alerts(&mut detector, &generation(second, bare_syns(rate))).is_empty() {
            alerted.push(second);
        }
        if detector.stats().flooded == 1 {
            flooded.push(second);
        }
    }
    assert_eq!(alerted, [2, 102]);
    assert!(flooded.contains(&20) && !flooded.contains(&22) && flooded.contains(&102));
}

#[test]
fn what_is_quiet_is_forgotten_and_room_is_bounded() {
    let mut detector = SynFlood::new(Config {
        destinations: 2,
        ..Config::default()
    });
    let to_port = |port| {
        let mut flow = flow(1, 1, SYN);
        flow.key.dst_port = port;
        flow
    };
    alerts(&mut detector, &generation(1, (1..=5).map(to_port)));
    assert_eq!(detector.stats().destinations, 2);
    assert_eq!(detector.stats().refused, 3);
    alerts(&mut detector, &generation(2, []));
    alerts(&mut detector, &generation(4, []));
    assert_eq!(detector.stats().destinations, 0);
}

#[test]
fn own_syns_fragments_and_other_protocols_do_not_count() {
    let mut detector = detector();
    let foreign = |change: fn(&mut FlowKey)| {
        let mut flow = flow(1, 1000, SYN);
        change(&mut flow.key);
        flow
    };
    let flows = || {
        [
            foreign(|key| key.direction = Direction::Egress as u8),
            foreign(|key| key.protocol = 17),
            foreign(|key| key.flags = key_flags::FRAGMENT),
        ]
    };
    alerts(&mut detector, &generation(1, flows()));
    assert!(alerts(&mut detector, &generation(2, flows())).is_empty());
    assert_eq!(detector.stats().destinations, 0);
}

#[test]
fn what_somebody_else_watches_raises_no_alert() {
    let mut detector = detector();
    let mut asked = Vec::new();
    for second in 1..=4 {
        let drain = generation(second, bare_syns(1000));
        let mut is_taken = |address, port| {
            asked.push((address, port));
            true
        };
        detector.on_drain(&drain, &|_| None, &mut is_taken, &mut |event| {
            panic!("told twice: {event:?}")
        });
    }
    let address = std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
    assert_eq!(asked, [(address.octets(), 80); 2]);
    assert_eq!(detector.stats().flooded, 1);
}
