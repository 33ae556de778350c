//! Signals, the time limit and a reader that leaves: what a running sensor does about them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

use sensor_tests::{Sensor, SensorOptions, root_or_skip, sensor_binary, traffic, until};

use super::{lab, with_config};

/// Waits until a file is there and holds whole JSON lines.
fn lines(path: &Path) -> Vec<serde_json::Value> {
    until("events in the file", || {
        let text = fs::read_to_string(path).ok()?;
        let lines: Result<Vec<_>, _> = text.lines().map(serde_json::from_str).collect();
        lines.ok().filter(|lines| !lines.is_empty())
    })
    .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn says(sensor: &Sensor, text: &str) {
    until(text, || sensor.messages().contains(text).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {}", sensor.messages()));
}

#[test]
fn sighup_reloads_what_can_change_and_keeps_the_rest() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let (directory, options) = with_config("[sampling]\nmode = \"off\"\n");
    let mut sensor = Sensor::start(&lab.server, &options).expect("it starts");
    let good = |sensor: &Sensor| {
        sensor
            .sum("sensor_config_last_reload_successful", &[])
            .expect("the gauge")
    };
    let ask = |id| {
        let server = lab.server.ipv4(0);
        let asked = lab.client.block_on(traffic::dns_query(
            server,
            id,
            "www.example",
            traffic::DnsType::A,
        ));
        assert_eq!(asked.expect("a namespace").expect("an answer"), 0);
    };
    let _servers = traffic::Servers::start(&lab.server).expect("servers");
    ask(1);

    let config = directory.path().join("sensor.toml");
    fs::write(&config, "[sampling]\nmode = \"sometimes\"\n").expect("a file");
    sensor.signal(libc::SIGHUP);
    says(&sensor, "the old one stays");
    until("the metric", || (good(&sensor) == 0.0).then_some(())).expect("refused");

    let new = "[sampling]\nmode = \"full\"\n[flows]\ncapacity = 4096\n";
    fs::write(&config, new).expect("a file");
    sensor.signal(libc::SIGHUP);
    says(&sensor, "`flows.capacity` has changed: it takes effect");
    until("the metric", || (good(&sensor) == 1.0).then_some(())).expect("reloaded");
    let before = sensor.sum("sensor_sampled_packets_total", &[]);
    assert_eq!(before.expect("the counter"), 0.0);
    ask(2);
    until("an event", || {
        let events = sensor.events();
        events
            .iter()
            .any(|event| event["dns"]["id"] == 2)
            .then_some(())
    })
    .expect("sampling is on");
    let ended = sensor.stop().expect("it ends");
    assert!(ended.status.success(), "{}", ended.messages);
    let unsampled = ended.events.iter().any(|event| event["dns"]["id"] == 1);
    assert!(!unsampled, "sampling was off");
}

#[test]
fn sigusr1_reopens_the_file_and_size_rotates_it() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let files = tempfile::tempdir().expect("a directory");
    let path = files.path().join("eve.json");
    let config = format!(
        "[output.eve]\nfile = {path:?}\nrotate_bytes = 1500\nkeep = 2\n[stats]\ninterval_seconds = 1\n"
    );
    let (_directory, options) = with_config(&config);
    let mut sensor = Sensor::start(&lab.server, &options).expect("it starts");
    lines(&path);
    let moved = files.path().join("moved");
    fs::rename(&path, &moved).expect("it can be moved");
    sensor.signal(libc::SIGUSR1);
    lines(&path);
    lines(&moved);
    // Statistics of each second fill the file.
    lines(&files.path().join("eve.json.1"));
    lines(&files.path().join("eve.json.2"));
    let ended = sensor.stop().expect("it ends");
    assert!(ended.status.success(), "{}", ended.messages);
    assert!(!files.path().join("eve.json.3").exists());
}

#[test]
fn a_time_limit_ends_the_run_in_order() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let options = SensorOptions {
        args: ["--for", "1"].map(str::to_owned).into(),
        ..SensorOptions::default()
    };
    let ended = Sensor::spawn(&lab.server, &options)
        .expect("it starts")
        .end()
        .expect("it ends");
    assert!(ended.status.success(), "{}", ended.messages);
    assert!(ended.messages.contains("Detached"), "{}", ended.messages);
    let last = ended.events.last().expect("events");
    assert_eq!(last["event_type"], "stats", "{last}");
}

#[test]
fn a_reader_that_leaves_ends_the_run_quietly() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let (directory, options) = with_config("[stats]\ninterval_seconds = 1\n");
    let mut child = lab
        .server
        .namespace
        .command(sensor_binary())
        .args(["run", "--json", "-i", lab.server.device, "--socket"])
        .arg(directory.path().join("control.sock"))
        .args(&options.args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    reader.read_line(&mut line).expect("a line");
    assert!(line.ends_with("}\n"), "{line}");
    drop(reader);
    let ended = until("it ends", || child.try_wait().ok().flatten());
    if ended.is_err() {
        let _ = child.kill();
    }
    let output = child.wait_with_output().expect("its messages");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(ended.expect("an end").success(), "{messages}");
    let loud = [" WARN ", " ERROR ", "error:"];
    assert!(
        !loud.iter().any(|word| messages.contains(word)),
        "{messages}"
    );
}
