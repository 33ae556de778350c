//! `--mode passive`: the sensor beside an XDP program of somebody else.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::Output,
};

use anyhow::Result;
use sensor_ebpf::lab::{QINQ, QINQ_OUTER, program};
use sensor_tests::{
    ForeignProgram, Generator, Lab, LabOptions, Sensor, SensorOptions, StreamSpec, VLANS,
    classifiers, root_or_skip, sensor_binary,
    traffic::{self, DnsType, Servers},
    until,
};

use serde_json::json;

use super::{
    Scene,
    lifecycle::{attached, refused},
};

/// Bytes that the client sends: GRO has something to merge.
const UPLOAD: usize = 3_000_000;

/// A scene whose server's device has a foreign program before the sensor comes.
fn beside(program: &str, args: &[&str]) -> (ForeignProgram, Scene) {
    let lab = Lab::new(LabOptions::default()).expect("the lab is laid");
    let foreign = ForeignProgram::attach(&lab.server.namespace, "s0", program);
    let foreign = foreign.expect("a foreign program");
    let servers = Servers::start(&lab.server).expect("servers");
    let sensor = Sensor::start(&lab.server, &passive(args)).expect("the sensor starts");
    let scene = Scene {
        sensor,
        _servers: servers,
        lab,
    };
    (foreign, scene)
}

fn passive(args: &[&str]) -> SensorOptions {
    let args = ["--mode", "passive"].iter().chain(args);
    SensorOptions {
        args: args.map(|&word| word.to_owned()).collect(),
        ..SensorOptions::default()
    }
}

/// The sensor's own programs at the TCX hooks of the server's device.
fn own_classifiers(lab: &Lab) -> Vec<String> {
    let found = classifiers(&lab.server.namespace, "s0").expect("TCX can be asked");
    let all = found.into_iter().flatten();
    all.filter(|name| name.starts_with("sensor")).collect()
}

/// Queries, and a stream to the server in full segments.
fn exchange(lab: &Lab, server: IpAddr) -> Result<()> {
    lab.client.block_on(async {
        for id in 0..20 {
            traffic::dns_query(server, id, "www.example", DnsType::A).await?;
        }
        traffic::http_get((server, 80).into(), "www.example", "/bytes/100000").await?;
        anyhow::Ok(())
    })??;
    let address = SocketAddr::new(server, 9000);
    let listener = lab
        .server
        .namespace
        .enter(|| TcpListener::bind(address))??;
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || -> Result<usize> {
            let (mut stream, _) = listener.accept()?;
            Ok(stream.read_to_end(&mut Vec::new())?)
        });
        lab.client.namespace.enter(|| -> Result<()> {
            let mut stream = TcpStream::connect(address)?;
            Ok(stream.write_all(&vec![0x55; UPLOAD])?)
        })??;
        assert_eq!(reader.join().expect("no panic")?, UPLOAD);
        Ok(())
    })
}

/// Frames that were sampled or given up: those that the programs ran for.
fn frames(scene: &Scene) -> u64 {
    let sum = |name| scene.sensor.sum(name, &[]).expect("a counter") as u64;
    sum("sensor_sampled_packets_total") + sum("sensor_sample_lost_packets_total")
}

/// `merges`: GRO does, on each kernel, for packets to that server.
fn counts_agree(server: impl Fn(&Lab) -> IpAddr, merges: bool) -> Option<Vec<serde_json::Value>> {
    if !root_or_skip() {
        return None;
    }
    let (_foreign, scene) = beside(program::PASS, &["--sampling", "full"]);
    let (before, frames_before) = (scene.balance(), frames(&scene));
    exchange(&scene.lab, server(&scene.lab)).expect("an exchange");
    let [ingress, egress] = scene.balance().assert_equal_since(&before);
    assert!(ingress > (UPLOAD / 1460) as u64, "{ingress}");
    assert!(egress > 100_000 / 1460, "{egress}");
    // Without merged packets the test would show little.
    let frames = frames(&scene) - frames_before;
    assert!(
        !merges || frames < ingress,
        "{frames} frames for {ingress} packets"
    );
    assert_eq!(scene.accounting_error(), 0.0);
    let mode = scene
        .sensor
        .sum("sensor_xdp_attach_info", &["mode=\"passive\""]);
    assert_eq!(mode.expect("the gauge"), 1.0);
    assert_eq!(own_classifiers(&scene.lab).len(), 2);
    let ended = scene.sensor.stop().expect("the sensor ends");
    assert!(ended.status.success(), "{}", ended.messages);
    assert!(ended.messages.contains("lab_pass"), "{}", ended.messages);
    assert_eq!(own_classifiers(&scene.lab), [""; 0]);
    let left = attached(&scene.lab.server);
    assert!(
        left.iter().any(|line| line.contains("lab_pass")),
        "{left:?}"
    );
    Some(ended.events)
}

#[test]
fn ipv4_packets_and_bytes_are_the_kernels() {
    counts_agree(|lab| lab.server.ipv4(0), true);
}

#[test]
fn ipv6_packets_and_bytes_are_the_kernels() {
    counts_agree(|lab| lab.server.ipv6(0), true);
}

/// The classifier runs ahead of the lab's own, which removes the tags.
fn tagged(server: impl Fn(&Lab) -> IpAddr, tags: serde_json::Value) {
    let Some(events) = counts_agree(server, false) else {
        return;
    };
    let is_upload =
        |event: &&serde_json::Value| event["event_type"] == "flow" && event["dest_port"] == 9000;
    let flow = events.iter().find(is_upload).expect("a flow");
    assert_eq!(flow["vlan"], tags, "{flow}");
    assert!(flow["flow"]["bytes_toserver"].as_u64() > Some(UPLOAD as u64));
}

#[test]
fn vlan_packets_and_bytes_are_the_kernels() {
    tagged(|lab| lab.server.ipv4(VLANS[0]), json!([VLANS[0]]));
}

#[test]
fn packets_and_bytes_with_two_tags_are_the_kernels() {
    tagged(|lab| lab.server.ipv6(QINQ), json!([QINQ_OUTER, QINQ]));
}

#[test]
fn what_the_other_program_drops_is_not_counted() {
    if !root_or_skip() {
        return;
    }
    let (_foreign, scene) = beside(program::DROP_ATTACK, &[]);
    let before = scene.balance();
    let target = (scene.lab.server.ipv4(0), 80).into();
    let flood = StreamSpec::syns(target, scene.lab.server.mac());
    Generator::send(&scene.lab.attacker.namespace, "a0", &flood, 10_000).expect("a flood");
    let flooded = scene.balance();
    let arrived = flooded.kernel.since(before.kernel).rx_packets;
    assert!(arrived > 0, "the flood reaches the device");
    assert_eq!(flooded.ingress, before.ingress, "of {arrived} packets");
    exchange(&scene.lab, scene.lab.server.ipv4(0)).expect("an exchange");
    scene.balance().assert_equal_since(&flooded);
    assert_eq!(scene.accounting_error(), 0.0);
}

#[test]
fn kill_leaves_nothing_and_the_next_start_works() {
    if !root_or_skip() {
        return;
    }
    let (_foreign, mut scene) = beside(program::PASS, &[]);
    assert_eq!(own_classifiers(&scene.lab).len(), 2);
    scene.sensor.signal(libc::SIGKILL);
    scene.sensor.end().expect("it is dead");
    // The kernel frees links after a process, but not before it is reaped.
    until("its programs go", || {
        own_classifiers(&scene.lab).is_empty().then_some(())
    })
    .expect("they go");
    let sensor = Sensor::start(&scene.lab.server, &passive(&[])).expect("the next one starts");
    assert_eq!(own_classifiers(&scene.lab).len(), 2);
    assert!(sensor.stop().expect("it ends").status.success());
    assert_eq!(own_classifiers(&scene.lab), [""; 0]);
    let left = attached(&scene.lab.server);
    assert!(
        left.iter().any(|line| line.contains("lab_pass")),
        "{left:?}"
    );
}

#[test]
fn what_would_stop_packets_is_refused() {
    if !root_or_skip() {
        return;
    }
    let lab = Lab::new(LabOptions::default()).expect("the lab is laid");
    for words in [&["--guard", "mitigate"][..], &["--tap", "--force"]] {
        let error = refused(&lab.server, &passive(words));
        assert!(error.contains("passive"), "{error}");
    }
}

#[test]
fn what_is_not_enforced_is_told() {
    if !root_or_skip() {
        return;
    }
    let lab = Lab::new(LabOptions::default()).expect("the lab is laid");
    let directory = sensor_tests::scratch().expect("a directory");
    let config = directory.path().join("sensor.toml");
    let listed = "[lists]\nblock = [\"192.0.2.7\"]\n[stats]\ninterval_seconds = 0\n";
    std::fs::write(&config, listed).expect("a file");
    let socket = directory.path().join("control.sock");
    let mut options = passive(&["-c", &config.display().to_string()]);
    options.socket = Some(socket.clone());
    let _foreign = ForeignProgram::pass(&lab.server.namespace, "s0").expect("a program");
    let sensor = Sensor::start(&lab.server, &options).expect("it starts");
    let said = sensor.messages();
    assert!(said.contains("not enforced on s0: passive"), "{said}");
    assert!(said.contains("guard is off in passive mode"), "{said}");

    let ask = |words: &[&str]| -> Output {
        let mut command = lab.server.namespace.command(sensor_binary());
        let command = command.args(words);
        let is_doctor = words[0] == "doctor";
        if !is_doctor {
            command.arg("--socket").arg(&socket);
        }
        command.output().expect("the command runs")
    };
    let refused = ask(&["block", "add", "192.0.2.8"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("not enforced on s0: passive"), "{said}");
    let status = ask(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["interfaces"][0]["mode"], "passive", "{status}");
    assert_eq!(status["guard"]["mode"], "off", "{status}");
    let doctor = ask(&["doctor", "-i", "s0"]);
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(
        said.contains("-> watch beside it with `--mode passive`"),
        "{said}"
    );

    // Nobody else tells of floods.
    let target = (lab.server.ipv4(0), 80).into();
    let flood = StreamSpec::syns(target, lab.server.mac());
    Generator::send(&lab.attacker.namespace, "a0", &flood, 20_000).expect("a flood");
    until("an alert", || {
        let alerts = sensor.sum("sensor_alerts_total", &[]).ok()?;
        (alerts > 0.0).then_some(())
    })
    .expect("the detector tells");
    assert!(sensor.stop().expect("it ends").status.success());
}
