//! The whole sensor, restarted and killed while packets arrive.

use std::{
    fs::{self, OpenOptions},
    io::Read as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    process::{Command, Output},
};

use sensor_tests::{
    BpfFs, Ended, Generator, Lab, LabOptions, Sensor, SensorOptions, StreamSpec, root_or_skip,
    sensor_binary, until,
};
use serde_json::Value;
use tempfile::TempDir;

/// A lab whose server's mirror port is sampled by a pinned sensor: whatever a program lets pass
/// there would be answered.
struct Scene {
    lab: Lab,
    file_system: BpfFs,
    config: TempDir,
    options: SensorOptions,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new(LabOptions::default()).expect("the lab is laid");
        let file_system = BpfFs::mount().expect("a BPF file system");
        let config = sensor_tests::scratch().expect("a directory");
        let file = config.path().join("sensor.toml");
        let file = file.display().to_string();
        let args = ["-c", &file, "--tap", "--force"].map(str::to_owned);
        let scene = Self {
            lab,
            file_system,
            config,
            options: SensorOptions {
                args: args.into(),
                ..SensorOptions::default()
            },
        };
        scene.configure(8192);
        scene
    }

    /// Writes the configuration for flow tables of that size. Without the guard, since bare SYNs
    /// to a destination that it watches make no flow entry, and so no event.
    fn configure(&self, capacity: u32) {
        let text = format!(
            "[guard]\nmode = \"off\"\n[pin]\nenabled = true\npath = \"{}\"\n[flows]\ncapacity = {capacity}\n[stats]\n\
             interval_seconds = 0\n",
            self.file_system.folder().display()
        );
        fs::write(self.config.path().join("sensor.toml"), text).expect("a file");
    }

    fn start(&self) -> Sensor {
        Sensor::start(&self.lab.server, &self.options).expect("the sensor starts")
    }

    /// SYNs of 256 flows to the server's port 80, slowly enough for every queue.
    fn packets(&self) -> Generator {
        let to = SocketAddr::new(self.lab.server.ipv4(0), 80);
        let spec = StreamSpec {
            flows: 256,
            scatter: false,
            rate: Some(20_000),
            ..StreamSpec::syns(to, self.lab.server.mac())
        };
        Generator::start(&self.lab.attacker.namespace, "a0", &spec).expect("a generator")
    }

    /// Runs another command of the sensor.
    fn command(&self, words: &[&str]) -> Output {
        let folder = self.file_system.folder();
        self.lab
            .server
            .namespace
            .command(sensor_binary())
            .args(words)
            .env("SENSOR_PIN_PATH", folder)
            .output()
            .expect("the command runs")
    }

    /// Removes the pinned data plane; the packets that nobody has read.
    fn detach(&self) -> u64 {
        let output = self.command(&["detach"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        assert!(!self.file_system.folder().exists(), "{text}");
        let (_, rest) = text.split_once("; ").expect("a number");
        let number = rest.split(' ').next().expect("a number");
        number.parse().expect("a number")
    }
}

/// Packets of the generator's flows in all flow events.
fn told(ended: &Ended) -> u64 {
    told_in(&ended.events)
}

fn told_in(events: &[Value]) -> u64 {
    let flows = events
        .iter()
        .filter(|event| event["event_type"] == "flow" && event["dest_port"] == 80);
    flows
        .map(|event| {
            event["flow"]["pkts_toserver"].as_u64().expect("a number")
                + event["flow"]["pkts_toclient"].as_u64().expect("a number")
        })
        .sum()
}

fn waits_for(packets: &Generator, more: u64) {
    let from = packets.sent();
    until("more packets", || {
        (packets.sent() >= from + more).then_some(())
    })
    .expect("packets");
}

fn sum(sensor: &Sensor, name: &str) -> u64 {
    sensor.sum(name, &[]).expect("a metric") as u64
}

#[test]
fn a_restart_under_load_loses_no_packet_and_lets_none_pass() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new();
    let first = scene.start();
    let before = scene.lab.server.counters().expect("counters");
    let packets = scene.packets();
    waits_for(&packets, 1);
    let mut ended = vec![first.stop().expect("it ends")];
    assert!(ended[0].status.success(), "{}", ended[0].messages);
    assert!(
        ended[0].messages.contains("sensor detach"),
        "{}",
        ended[0].messages
    );
    // Nobody reads for a while, and then twice more somebody new.
    waits_for(&packets, 1);
    for _ in 0..2 {
        let sensor = scene.start();
        assert_eq!(sum(&sensor, "sensor_restart_untold_packets"), 0);
        assert_eq!(sum(&sensor, "sensor_accounting_error_packets"), 0);
        waits_for(&packets, 1);
        ended.push(sensor.stop().expect("it ends"));
    }
    let sent = packets.stop().expect("the generator ends");
    let last = scene.start();
    ended.push(last.stop().expect("it ends"));
    let after = scene.lab.server.counters().expect("counters").since(before);
    assert_eq!(after.rx_packets, sent.frames, "{after:?}");
    let told: u64 = ended.iter().map(told).sum();
    assert_eq!(told, sent.frames, "packets told of those sent");
    // A SYN that passed would have been answered, and there is nobody else on the wire.
    assert_eq!(after.tx_packets, 0, "{after:?}");
    assert_eq!(scene.detach(), 0);
}

#[test]
fn an_upgrade_to_other_sizes_under_load_loses_no_packet_and_lets_none_pass() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new();
    let mut first = scene.start();
    let before = scene.lab.server.counters().expect("counters");
    let packets = scene.packets();
    waits_for(&packets, 1);
    // Killed, so that there are two generations to be drained, or one and a half.
    first.signal(libc::SIGKILL);
    let mut ended = vec![first.end().expect("it is dead")];
    let mut untold = 0;
    for capacity in [16_384, 4096] {
        scene.configure(capacity);
        let sensor = scene.start();
        untold += sum(&sensor, "sensor_restart_untold_packets");
        assert_eq!(sum(&sensor, "sensor_restart_lost_packets"), 0);
        waits_for(&packets, 1);
        assert_eq!(sum(&sensor, "sensor_accounting_error_packets"), 0);
        ended.push(sensor.stop().expect("it ends"));
    }
    let sent = packets.stop().expect("the generator ends");
    let last = scene.start();
    ended.push(last.stop().expect("it ends"));
    let after = scene.lab.server.counters().expect("counters").since(before);
    let told: u64 = ended.iter().map(told).sum();
    assert_eq!(told + untold, sent.frames, "packets told of those sent");
    assert_eq!((after.rx_packets, after.tx_packets), (sent.frames, 0));
    assert!(
        ended[1].messages.contains("other layouts or sizes"),
        "{}",
        ended[1].messages
    );
    assert_eq!(scene.detach(), 0);
}

#[test]
fn what_the_kernel_holds_survives_a_kill_and_the_rest_is_reported() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new();
    let mut first = scene.start();
    let packets = scene.packets();
    waits_for(&packets, 1);
    until("a generation with packets", || {
        (sum(&first, "sensor_xdp_packets_total") > 0).then_some(())
    })
    .expect("packets");
    // A generation is recorded before the next but one is closed.
    let closed = sum(&first, "sensor_generations_total");
    until("two more generations", || {
        (sum(&first, "sensor_generations_total") >= closed + 2).then_some(())
    })
    .expect("generations");
    first.signal(libc::SIGKILL);
    let first = first.end().expect("it is dead");
    let status = scene.command(&["status", "--socket", "/nonexistent"]);
    let text = String::from_utf8_lossy(&status.stderr);
    assert!(text.contains("at work on s0 without one"), "{text}");
    let doctor = scene.command(&["doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(text.contains("pinned data plane"), "{text}");
    waits_for(&packets, 1);
    let second = scene.start();
    let untold = sum(&second, "sensor_restart_untold_packets");
    assert_eq!(sum(&second, "sensor_restart_lost_packets"), 0);
    assert_eq!(sum(&second, "sensor_pinned"), 1);
    waits_for(&packets, 1);
    let sent = packets.stop().expect("the generator ends");
    until("all packets", || {
        (sum(&second, "sensor_accounting_error_packets") == 0).then_some(())
    })
    .expect("the law holds");
    let second = second.stop().expect("it ends");
    assert!(untold > 0, "{}", second.messages);
    assert!(
        second.messages.contains("in no event"),
        "{}",
        second.messages
    );
    assert_eq!(told(&first) + untold + told(&second), sent.frames);
    assert_eq!(scene.detach(), 0);
}

/// All flows have ended and are told of, but the output is stuck.
#[test]
fn what_an_output_has_not_written_is_reported_after_a_kill() {
    if !root_or_skip() {
        return;
    }
    let mut scene = Scene::new();
    scene.options.discard_events = true;
    let pipe = scene.config.path().join("eve");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let mut reader = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&pipe)
        .expect("a reader");
    let file = scene.config.path().join("sensor.toml");
    let config = fs::read_to_string(&file).expect("a file");
    let quick = "[engine.timeout]\ntcp = { new = 1, established = 1, closed = 1 }\n";
    let stuck = format!(
        "{config}{quick}[output.eve]\nfile = \"{}\"\n",
        pipe.display()
    );
    fs::write(&file, stuck).expect("a file");

    let mut first = scene.start();
    let packets = scene.packets();
    waits_for(&packets, 5000);
    let sent = packets.stop().expect("the generator ends").frames;
    until("the end of all flows", || {
        let all = sum(&first, "sensor_xdp_packets_total") >= sent;
        (all && sum(&first, "sensor_engine_flows") == 0).then_some(())
    })
    .expect("they end");
    let closed = sum(&first, "sensor_generations_total");
    until("two more generations", || {
        (sum(&first, "sensor_generations_total") >= closed + 2).then_some(())
    })
    .expect("generations");
    first.signal(libc::SIGKILL);
    first.end().expect("it is dead");
    let mut text = Vec::new();
    let read = reader.read_to_end(&mut text);
    assert!(read.is_ok_and(|bytes| bytes > 0), "what the pipe holds");
    let events: Vec<Value> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();

    fs::write(&file, config).expect("a file");
    let second = scene.start();
    let untold = sum(&second, "sensor_restart_untold_packets");
    // Lines that were only begun, or came with them, are in both.
    assert!(told_in(&events) + untold >= sent, "{untold} of {sent}");
    assert!(told_in(&events) < sent, "the pipe has room for all");
    second.stop().expect("it ends");
    assert_eq!(scene.detach(), 0);
}

#[test]
fn a_second_sensor_on_the_same_pins_is_refused() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new();
    let first = scene.start();
    let second = Sensor::spawn(&scene.lab.server, &scene.options).expect("it starts");
    let second = second.end().expect("it ends");
    assert_eq!(second.status.code(), Some(1));
    assert!(
        second.messages.contains("is running"),
        "{}",
        second.messages
    );
    let refused = scene.command(&["detach"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(first.stop().expect("it ends").status.success());
    scene.detach();
}

#[test]
fn without_a_file_system_for_pins_the_remedy_is_named() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new();
    let mut options = scene.options.clone();
    let place = sensor_tests::scratch().expect("a directory");
    let file = place.path().join("sensor.toml");
    let folder = place.path().join("pins");
    let text = format!("[pin]\nenabled = true\npath = \"{}\"\n", folder.display());
    fs::write(&file, text).expect("a file");
    options.args[1] = file.display().to_string();
    let ended = Sensor::spawn(&scene.lab.server, &options)
        .expect("it starts")
        .end()
        .expect("it ends");
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.messages.contains("mount -t bpf"),
        "{}",
        ended.messages
    );
}
