//! A flood is met by the same method across a restart.

use std::net::SocketAddr;

use sensor_tests::{
    BpfFs, Generator, Lab, LabOptions, Sensor, SensorOptions, StreamSpec, root_or_skip, traffic,
    until,
};

fn sum(sensor: &Sensor, name: &str, labels: &[&str]) -> f64 {
    sensor.sum(name, labels).expect("a metric")
}

#[test]
fn cookies_go_on_while_the_next_process_tests_them() {
    if !root_or_skip() {
        return;
    }
    let lab = Lab::new(LabOptions::default()).expect("the lab is laid");
    let file_system = BpfFs::mount().expect("a BPF file system");
    let config = sensor_tests::scratch().expect("a directory");
    let file = config.path().join("sensor.toml");
    let text = format!(
        "[guard]\nmode = \"mitigate\"\ncalm_seconds = 600\n[pin]\nenabled = true\npath = \"{}\"\n",
        file_system.folder().display()
    );
    std::fs::write(&file, text).expect("a file");
    let options = SensorOptions {
        args: ["-c", &file.display().to_string()]
            .map(str::to_owned)
            .into(),
        ..SensorOptions::default()
    };
    // The kernel makes cookies however much room the listener's queue has.
    let setting = lab
        .server
        .namespace
        .set_sysctl("net/ipv4/tcp_syncookies", 2);
    setting.expect("a setting");
    let _servers = traffic::Servers::start(&lab.server).expect("servers");
    let target = SocketAddr::new(lab.server.ipv4(0), 80);
    let spec = StreamSpec {
        flows: 1 << 14,
        rate: Some(5000),
        ..StreamSpec::syns(target, lab.server.mac())
    };

    let first = Sensor::start(&lab.server, &options).expect("the sensor starts");
    let flood = Generator::start(&lab.attacker.namespace, "a0", &spec).expect("a flood");
    until("cookies", || {
        (sum(&first, "sensor_syncookies_sent_total", &[]) > 0.0).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", first.messages()));
    first.stop().expect("it ends");

    let second = Sensor::start(&lab.server, &options).expect("the sensor starts");
    until("the end of the second one's test", || {
        second.messages().contains("SYN cookies work").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", second.messages()));
    let sent = sum(&second, "sensor_syncookies_sent_total", &[]);
    until("more cookies", || {
        (sum(&second, "sensor_syncookies_sent_total", &[]) > sent).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", second.messages()));
    let dropped = sum(
        &second,
        "sensor_xdp_dropped_packets_total",
        &["reason=\"first_syn\""],
    );
    assert_eq!(dropped, 0.0, "{}", second.messages());
    assert_eq!(sum(&second, "sensor_accounting_error_packets", &[]), 0.0);
    assert_eq!(sum(&second, "sensor_syn_guard_errors_total", &[]), 0.0);
    flood.stop().expect("the flood ends");
    second.stop().expect("it ends");
}
