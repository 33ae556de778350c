//! A flood comes, clients do not notice, the flood goes.

use std::net::SocketAddr;

use sensor_tests::flood::{Connection, Service};
use sensor_tests::{Sensor, root_or_skip, until};

use super::{Scene, alerts, destination, is_address, sum, until_defended};

const CLIENTS: u64 = 60;

/// Packets that were dropped or answered.
fn taken(sensor: &Sensor) -> u64 {
    let of = |action| sum(sensor, "sensor_xdp_packets_total", &[action]);
    of("action=\"drop\"") + of("action=\"tx\"")
}

/// A flood at `target` is met by `method`, told, and over.
fn round(scene: &Scene, sensor: &Sensor, target: SocketAddr, method: &str) {
    let older = Connection::open(&scene.lab.client, target, Service::Http).expect("a connection");
    let flood = scene.flood(target);
    until_defended(sensor, target, method);
    let accepted = || scene.lab.server.tcp_counter("SyncookiesRecv");
    let before = accepted().expect("a counter");
    let taken_before = taken(sensor);
    scene.serve(target, CLIENTS);
    older.converse(7).expect("it lives on");
    let by_cookies = accepted().expect("a counter") - before;
    assert!(method != "cookie" || by_cookies > 0);
    assert!(taken(sensor) > taken_before);

    let state = "state=\"mitigating\"";
    assert_eq!(sum(sensor, "sensor_syn_guard_destinations", &[state]), 1);
    let row = destination(sensor, target).expect("it is watched");
    let counter = match method {
        "cookie" => "cookies",
        _ => "first_dropped",
    };
    assert!(row["counted_total"][counter].as_u64() > Some(0), "{row}");
    let told = alerts(sensor, "SENSOR SYN flood mitigated", target);
    let told = told.last().expect("an alert");
    assert_eq!(told["alert"]["action"], "blocked", "{told}");
    assert_eq!(told["sensor"]["guard"]["mode"], "mitigate", "{told}");

    flood.stop().expect("the flood ends");
    until("the end of the defence", || {
        let over = !alerts(sensor, "SENSOR SYN flood over", target).is_empty();
        let row = destination(sensor, target)?;
        (over && row["state"] == "normal").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", sensor.messages()));
    assert_eq!(sum(sensor, "sensor_syn_guard_destinations", &[state]), 0);
    // Nobody is asked for anything any more.
    let taken_before = taken(sensor);
    scene.serve(target, CLIENTS);
    assert_eq!(taken(sensor), taken_before);
}

fn floods_are_met(config: &str, method: &str) -> (Scene, Sensor) {
    let scene = Scene::new(config);
    let sensor = scene.start();
    for address in [scene.lab.server.ipv4(0), scene.lab.server.ipv6(0)] {
        round(&scene, &sensor, SocketAddr::new(address, 80), method);
    }
    assert_eq!(sum(&sensor, "sensor_accounting_error_packets", &[]), 0);
    assert_eq!(sum(&sensor, "sensor_syn_guard_errors_total", &[]), 0);
    (scene, sensor)
}

#[test]
fn cookies_bring_clients_through() {
    if !root_or_skip() {
        return;
    }
    let config = "[guard]\nmode = \"mitigate\"\ncalm_seconds = 2\n";
    let (scene, sensor) = floods_are_met(config, "cookie");
    assert!(sum(&sensor, "sensor_syncookies_sent_total", &[]) > 0);
    for address in [scene.lab.server.ipv4(0), scene.lab.server.ipv6(0)] {
        let told = until("a marked flow", || {
            let events = sensor.events();
            let mut flows = events.iter().filter(|event| event["event_type"] == "flow");
            let marked = flows.find(|flow| {
                is_address(&flow["dest_ip"], address) && flow["sensor"]["handshake"] == "cookie"
            });
            marked.cloned()
        });
        let told = told.unwrap_or_else(|error| panic!("{error}: {}", sensor.messages()));
        assert_eq!(told["dest_port"], 80, "{told}");
    }
}

#[test]
fn retransmissions_bring_clients_through() {
    if !root_or_skip() {
        return;
    }
    let config = "[guard]\nmode = \"mitigate\"\nmethod = \"retransmission\"\ncalm_seconds = 2\n";
    let (_scene, sensor) = floods_are_met(config, "retransmission");
    assert_eq!(sum(&sensor, "sensor_syncookies_sent_total", &[]), 0);
}
