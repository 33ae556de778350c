//! The SYN-flood guard as an operator sees it: alerts, status, metrics.

use std::net::SocketAddr;

use sensor_tests::{
    DEADLINE, Generator, Lab, Sensor, StreamSpec,
    flood::{Crowd, ListenOptions, Listener, Service},
    root_or_skip, traffic, until,
};
use serde_json::Value;

use super::{lab, with_config};

fn flood(lab: &Lab, target: SocketAddr) -> Generator {
    let spec = StreamSpec {
        flows: 1 << 14,
        rate: Some(5000),
        ..StreamSpec::syns(target, lab.server.mac())
    };
    Generator::start(&lab.attacker.namespace, "a0", &spec).expect("a flood")
}

fn start(lab: &Lab, config: &str) -> (tempfile::TempDir, Sensor) {
    let (directory, options) = with_config(config);
    let sensor = Sensor::start(&lab.server, &options).expect("the sensor starts");
    (directory, sensor)
}

/// The first alert with a signature.
fn alert(sensor: &Sensor, signature: &str) -> Value {
    until(signature, || {
        let events = sensor.events();
        let found = events
            .iter()
            .find(|event| event["alert"]["signature"] == signature);
        found.cloned()
    })
    .unwrap_or_else(|error| panic!("{error}: {}", sensor.messages()))
}

fn guard_status(sensor: &Sensor) -> Value {
    sensor.ask(&["status"]).expect("a status")["guard"].clone()
}

fn sum(sensor: &Sensor, name: &str, labels: &[&str]) -> f64 {
    sensor.sum(name, labels).expect("a metric")
}

#[test]
fn a_flood_is_met_told_and_over() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _servers = traffic::Servers::start(&lab.server).expect("servers");
    let (_directory, sensor) = start(&lab, "[guard]\nmode = \"mitigate\"\ncalm_seconds = 1\n");
    assert_eq!(guard_status(&sensor)["mode"], "mitigate");
    let target = SocketAddr::new(lab.server.ipv4(0), 80);
    let flood = flood(&lab, target);
    let told = alert(&sensor, "SENSOR SYN flood mitigated");
    assert_eq!(told["dest_ip"], target.ip().to_string(), "{told}");
    assert_eq!(told["dest_port"], 80, "{told}");
    assert_eq!(told["alert"]["action"], "blocked", "{told}");
    assert_eq!(told["sensor"]["guard"]["state"], "mitigating", "{told}");

    let status = guard_status(&sensor);
    let one = &status["destinations"][0];
    assert_eq!(one["address"], target.ip().to_string(), "{status}");
    assert_eq!(one["state"], "mitigating", "{status}");
    let mitigating = sum(
        &sensor,
        "sensor_syn_guard_destinations",
        &["state=\"mitigating\""],
    );
    assert_eq!(mitigating, 1.0);

    flood.stop().expect("the flood ends");
    let over = alert(&sensor, "SENSOR SYN flood over");
    assert_eq!(over["sensor"]["guard"]["state"], "normal", "{over}");
    // By whichever method: the self-test of cookies may end later than a short flood. On a busy
    // machine the flood falters, and is over more than once.
    let taken: f64 = ["action=\"drop\"", "action=\"tx\""]
        .map(|action| sum(&sensor, "sensor_xdp_packets_total", &[action]))
        .iter()
        .sum();
    assert!(taken > 0.0, "{over}");
    assert_eq!(sum(&sensor, "sensor_accounting_error_packets", &[]), 0.0);
    assert_eq!(sum(&sensor, "sensor_syn_guard_errors_total", &[]), 0.0);
}

#[test]
fn a_watching_guard_drops_nothing() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _servers = traffic::Servers::start(&lab.server).expect("servers");
    let (_directory, sensor) = start(&lab, "");
    let target = SocketAddr::new(lab.server.ipv4(0), 80);
    let flood = flood(&lab, target);
    let told = alert(&sensor, "SENSOR SYN flood");
    assert_eq!(told["alert"]["action"], "allowed", "{told}");
    assert_eq!(told["sensor"]["guard"]["mode"], "monitor", "{told}");
    let status = guard_status(&sensor);
    assert_eq!(status["destinations"][0]["state"], "alert", "{status}");
    flood.stop().expect("the flood ends");
    for verdict in ["drop", "tx"] {
        let action = format!("action=\"{verdict}\"");
        assert_eq!(sum(&sensor, "sensor_xdp_packets_total", &[&action]), 0.0);
    }
    // One story: the detector in the flow records has nothing to add.
    let alerts = sum(&sensor, "sensor_alerts_total", &["detector=\"syn_flood\""]);
    assert_eq!(alerts, 1.0);
    assert_eq!(sum(&sensor, "sensor_accounting_error_packets", &[]), 0.0);
}

#[test]
fn a_guard_that_is_off_leaves_the_detector_to_tell() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let (_directory, sensor) = start(&lab, "[guard]\nmode = \"off\"\n");
    let flood = flood(&lab, SocketAddr::new(lab.server.ipv4(0), 80));
    let told = alert(&sensor, "SENSOR SYN flood");
    assert!(told["sensor"]["guard"].is_null(), "{told}");
    let status = guard_status(&sensor);
    assert_eq!(status["mode"], "off", "{status}");
    assert_eq!(status["destinations"], serde_json::json!([]), "{status}");
    flood.stop().expect("the flood ends");
}

#[test]
fn crowd_of_real_clients_ends_the_defence_by_completing_its_handshakes() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let listener = Listener::start(&lab.server, Service::Http, ListenOptions::default());
    let _listener = listener.expect("a server");
    // Everything from 10 SYNs a second on is met, and left alone after a second.
    let config = "[guard]\nmode = \"mitigate\"\nmethod = \"retransmission\"\nsyn_rate = 10\n\
                  calm_seconds = 1\n";
    let (_directory, sensor) = start(&lab, config);
    let target = SocketAddr::new(lab.server.ipv4(0), Service::Http.port());
    let flood = flood(&lab, target);
    let told = alert(&sensor, "SENSOR SYN flood mitigated");
    assert_eq!(told["dest_port"], target.port(), "{told}");
    // Clients that nobody knows, ten times as many as a flood needs.
    let crowd = Crowd {
        apart: true,
        patience: DEADLINE,
        ..Crowd::new(target.ip(), Service::Http, 100)
    };
    let clients = crowd.start(&lab.client);
    flood.stop().expect("the flood ends");
    let over = alert(&sensor, "SENSOR SYN flood over");
    let outcome = clients.stop().expect("clients");
    let observed = &over["sensor"]["observed"];
    // Unless the machine is so busy that hardly anybody comes.
    assert!(
        observed["completed_percent"].as_u64() >= Some(33)
            || observed["syns_per_second"].as_u64() < Some(5),
        "{over}: {outcome:?}"
    );
    assert_ne!(outcome.served(), 0, "{outcome:?}");
}

#[test]
fn a_family_whose_cookies_cannot_be_tried_is_told_and_tried_again() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let network = &lab.server.namespace;
    let loopback = |disabled| {
        network
            .set_sysctl("net/ipv6/conf/lo/disable_ipv6", disabled)
            .expect("a setting");
    };
    loopback(1);
    let (_directory, mut sensor) = start(&lab, "[guard]\nmode = \"mitigate\"\n");
    let until_cookies = |sensor: &Sensor, family: &str, state: &str| {
        until("the self-test ends", || {
            let told = guard_status(sensor)["cookies"][family].clone();
            (told["state"] == state).then_some(told)
        })
        .unwrap_or_else(|error| panic!("{error}: {}", sensor.messages()))
    };
    let told = until_cookies(&sensor, "ipv6", "self_test_failed");
    let why = told["remedy"].as_str().expect("a reason");
    assert!(why.contains("::1"), "{why}");
    until_cookies(&sensor, "ipv4", "available");
    let said = sensor.messages();
    assert!(said.contains("No SYN cookies over IPv6"), "{said}");
    assert!(!said.contains("No SYN cookies over IPv4"), "{said}");
    // What was missing is there now.
    loopback(0);
    sensor.signal(libc::SIGHUP);
    until_cookies(&sensor, "ipv6", "available");
}
