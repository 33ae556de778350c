//! Devices of a running sensor: renamed, gone, back; and a mirror port.

use sensor_tests::{
    Generator, Host, Namespace, Sensor, SensorOptions, StreamSpec, root_or_skip, tcp_flag, traffic,
    until,
};

use super::lab;

#[test]
fn metrics_never_go_back_while_a_device_changes() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _servers = traffic::Servers::start(&lab.server).expect("servers");
    let sensor = Sensor::start(&lab.server, &SensorOptions::default()).expect("it starts");
    let server = (lab.server.ipv4(0), 80).into();
    let page = lab
        .client
        .block_on(traffic::http_get(server, "lab.example", "/"));
    assert_eq!(page.expect("a namespace").expect("a page").0, 200);
    let of = |device: &str| {
        let label = format!("device=\"{device}\"");
        sensor.sum("sensor_packets_total", &[label.as_str()]).ok()
    };
    let ready = || sensor.web("/readyz").expect("an answer").0 == 200;
    let first = of("s0").expect("packets");
    assert!(first > 0.0);

    let ip = |words: &str| lab.server.namespace.ip(words).expect("ip");
    ip("link set s0 down");
    ip("link set s0 name s9");
    ip("link set s9 up");
    until("the new name", || of("s9")).expect("it is followed");
    assert!(of("s0") >= Some(first), "the old name's counts stay");
    assert!(ready());

    ip("link del s9");
    until("it is not ready", || (!ready()).then_some(())).expect("it is missed");
    let (renamed, total) = (of("s9"), of("s0"));
    assert!(renamed.is_some() && total >= Some(first));

    ip("link add s9 type veth peer name s8");
    ip("link set s9 up");
    ip("link set s8 up");
    until("it is ready again", || ready().then_some(())).expect("it is back");
    assert!(of("s9") >= renamed && of("s0") >= total);
    let error = sensor.sum("sensor_accounting_error_packets", &[]);
    assert_eq!(error.expect("the gauge"), 0.0);
    assert!(sensor.stop().expect("it ends").status.success());
}

#[test]
fn a_tap_drops_every_frame_and_counts_it() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let tap = |args: &[&str]| SensorOptions {
        args: args.iter().map(|&word| word.to_owned()).collect(),
        ..SensorOptions::default()
    };
    let refused = Sensor::spawn(&lab.server, &tap(&["--tap"]))
        .expect("it starts")
        .end()
        .expect("it ends");
    assert_eq!(refused.status.code(), Some(1));
    let said = &refused.messages;
    assert!(
        said.contains("10.77.0.2") && said.contains("--force"),
        "{said}"
    );

    let namespace = Namespace::new().expect("a namespace");
    for words in [
        "link add t0 type veth peer name t1",
        "link set lo up",
        "link set t0 addrgenmode none up",
        "link set t1 addrgenmode none up",
    ] {
        namespace.ip(words).expect("ip");
    }
    let host = Host {
        namespace: namespace.clone(),
        device: "t0",
        port: lab.server.port,
    };
    let sensor = Sensor::start(&host, &tap(&["--tap"])).expect("it starts");
    let spec = StreamSpec {
        tcp_flags: tcp_flag::ACK,
        flows: 16,
        scatter: false,
        ..StreamSpec::syns((lab.server.ipv4(0), 80).into(), lab.server.mac())
    };
    let sent = Generator::send(&namespace, "t1", &spec, 1000).expect("frames");
    assert_eq!(sent.frames, 1000);
    until("all frames", || {
        let dropped = sensor.sum("sensor_xdp_packets_total", &["action=\"drop\""]);
        (dropped.ok()? >= 1000.0).then_some(())
    })
    .expect("they are counted");
    let tcp = sensor.sum("sensor_packets_total", &["protocol=\"tcp\""]);
    assert_eq!(tcp.expect("the counter"), 1000.0);
    let passed = sensor.sum("sensor_xdp_packets_total", &["action=\"pass\""]);
    assert_eq!(passed.expect("the counter"), 0.0);
}
