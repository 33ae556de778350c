//! All of it with no more than the capabilities that the sensor asks for.

use std::time::Duration;

use sensor_tests::flood::Crowd;
use sensor_tests::{Sensor, SensorOptions, root_or_skip, until};

use super::{Scene, destination, sum, until_defended};

/// Numbers of `include/uapi/linux/capability.h`.
const NET_ADMIN: u64 = 1 << 12;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// A client whose SYN is dropped notices nothing: this long it is given.
const PATIENCE: Duration = Duration::from_millis(1500);

impl Scene {
    /// Starts the sensor as root without root's other powers.
    fn start_with_little(&self) -> Sensor {
        let words = [
            "setpriv",
            "--bounding-set=-all,+bpf,+net_admin,+perfmon",
            "--inh-caps=-all",
        ];
        let options = SensorOptions {
            wrapper: words.map(str::to_owned).into(),
            ..self.options.clone()
        };
        let sensor = Sensor::start(&self.lab.server, &options).expect("the sensor starts");
        let status = std::fs::read_to_string(format!("/proc/{}/status", sensor.id()));
        let status = status.expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let held = u64::from_str_radix(line.expect("a line").trim(), 16).expect("a number");
        assert_eq!(held, NET_ADMIN | PERFMON | BPF, "{status}");
        sensor
    }

    /// Whether one client, of the host's own address, is served.
    fn is_served(&self, target: std::net::SocketAddr) -> bool {
        let crowd = Crowd {
            apart: false,
            patience: PATIENCE,
            ..self.crowd(target, 1)
        };
        crowd.send(&self.lab.client, 1).expect("a client").served() == 1
    }
}

/// Asks until the client is served: a packet may be lost, and the machine be slow.
fn until_served(scene: &Scene, target: std::net::SocketAddr) {
    until("a served client", || scene.is_served(target).then_some(())).expect("it is served");
}

#[test]
fn lists_and_guard_change_and_defend_without_other_capabilities() {
    if !root_or_skip() {
        return;
    }
    let config = |mode: &str| {
        format!("[guard]\nmode = \"{mode}\"\n[pin]\nenabled = true\npath = \"PINS\"\n")
    };
    let scene = Scene::new(&config("monitor"));
    let target = (scene.lab.server.ipv4(0), 80).into();
    let client = scene.lab.client.ipv4(0).to_string();
    let sensor = scene.start_with_little();
    until_served(&scene, target);
    let ask = |words: &[&str]| sensor.ask(words).expect("an answer");
    ask(&["block", "add", &client, "--for", "1h"]);
    assert!(!scene.is_served(target));
    ask(&["allow", "add", "10.77.0.0/24"]);
    until_served(&scene, target);
    ask(&["allow", "del", "10.77.0.0/24"]);
    assert!(!scene.is_served(target));
    ask(&["pass", "on"]);
    until_served(&scene, target);
    ask(&["pass", "off"]);
    ask(&["block", "del", &client]);
    until_served(&scene, target);

    let flood = scene.flood(target);
    until("an alert", || {
        (destination(&sensor, target)?["state"] == "alert").then_some(())
    })
    .expect("the flood is seen");
    scene.configure(&config("mitigate"));
    let mut sensor = sensor;
    sensor.signal(libc::SIGHUP);
    // The self-test of cookies needs nothing else, either.
    until_defended(&sensor, target, "cookie");
    scene.serve(target, 30);
    assert_eq!(sum(&sensor, "sensor_syn_guard_errors_total", &[]), 0);
    assert_eq!(sum(&sensor, "sensor_accounting_error_packets", &[]), 0);
    let first = sensor.stop().expect("it ends");
    assert!(first.status.success(), "{}", first.messages);

    // What was pinned is taken over with as little.
    let second = scene.start_with_little();
    until_defended(&second, target, "cookie");
    scene.serve(target, 30);
    flood.stop().expect("the flood ends");
    assert_eq!(sum(&second, "sensor_pinned", &[]), 1);
    assert_eq!(sum(&second, "sensor_accounting_error_packets", &[]), 0);
}
