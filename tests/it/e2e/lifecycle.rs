//! How the sensor comes and goes, and what it says when it cannot come.

use sensor_tests::traffic::{self, Servers};
use sensor_tests::{
    Ended, ForeignProgram, Host, Lab, LabOptions, Sensor, SensorOptions, root_or_skip,
};

fn lab() -> Lab {
    Lab::new(LabOptions::default()).expect("the lab is laid")
}

/// Whether the server answers the client.
fn passes(lab: &Lab) -> bool {
    let server = (lab.server.ipv4(0), 80).into();
    let page = lab
        .client
        .block_on(traffic::http_get(server, "lab.example", "/"));
    page.expect("a namespace")
        .is_ok_and(|(status, _)| status == 200)
}

/// Starts a sensor that must fail, with status 1 and one clear line.
#[track_caller]
pub(super) fn refused(host: &Host, options: &SensorOptions) -> String {
    let Ended {
        status,
        events,
        messages,
    } = Sensor::spawn(host, options)
        .expect("the sensor starts")
        .end()
        .expect("it ends");
    assert_eq!(status.code(), Some(1), "{messages}");
    assert!(events.is_empty(), "{events:?}");
    let errors: Vec<_> = messages
        .lines()
        .filter(|line| line.contains("error:"))
        .collect();
    assert_eq!(errors.len(), 1, "one error line in: {messages}");
    assert_eq!(
        messages.lines().count(),
        1,
        "nothing but that line in: {messages}"
    );
    errors[0].to_owned()
}

#[test]
fn sigterm_detaches_and_flushes() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _servers = Servers::start(&lab.server).expect("servers");
    let sensor = Sensor::start(&lab.server, &SensorOptions::default()).expect("it starts");
    assert!(passes(&lab));
    let ended = sensor.stop().expect("it ends");
    assert!(ended.status.success(), "{}", ended.messages);
    assert!(
        ended
            .events
            .iter()
            .any(|event| event["event_type"] == "flow"),
        "no flow was told"
    );
    assert_eq!(attached(&lab.server), [""; 0]);
    assert!(passes(&lab));
}

#[test]
fn kill_leaves_traffic_passing_and_the_next_start_works() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _servers = Servers::start(&lab.server).expect("servers");
    let directory = tempfile::tempdir().expect("a directory");
    let options = SensorOptions {
        socket: Some(directory.path().join("control.sock")),
        ..SensorOptions::default()
    };
    let mut sensor = Sensor::start(&lab.server, &options).expect("it starts");
    assert!(!attached(&lab.server).is_empty());
    sensor.signal(libc::SIGKILL);
    sensor.end().expect("it is dead");
    assert!(passes(&lab));
    // On a kernel without TCX the egress filter may still be there: the next start removes it.
    let sensor = Sensor::start(&lab.server, &options).expect("the next one starts");
    assert!(passes(&lab));
    assert!(sensor.stop().expect("it ends").status.success());
    assert_eq!(attached(&lab.server), [""; 0]);
}

#[test]
fn second_sensor_on_a_device_is_refused() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _first = Sensor::start(&lab.server, &SensorOptions::default()).expect("it starts");
    let options = SensorOptions {
        args: vec!["--listen".into(), "127.0.0.1:19101".into()],
        ..SensorOptions::default()
    };
    let error = refused(&lab.server, &options);
    assert!(error.contains("s0") && error.contains("already"), "{error}");
}

#[test]
fn program_of_somebody_else_is_named_and_left_alone() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _foreign = ForeignProgram::pass(&lab.server.namespace, "s0").expect("a program");
    let error = refused(&lab.server, &SensorOptions::default());
    assert!(
        error.contains("s0") && error.contains("lab_pass") && error.contains("--mode passive"),
        "{error}"
    );
    assert!(
        attached(&lab.server)
            .iter()
            .any(|line| line.contains("lab_pass"))
    );
}

#[test]
fn missing_interface_is_named() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let host = Host {
        device: "nope0",
        ..lab.server.clone()
    };
    let error = refused(&host, &SensorOptions::default());
    assert!(error.contains("nope0"), "{error}");
}

#[test]
fn missing_capabilities_are_named_with_a_remedy() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let wrapper = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let wrapper = wrapper.map(str::to_owned).into();
    let error = refused(
        &lab.server,
        &SensorOptions {
            wrapper,
            ..SensorOptions::default()
        },
    );
    assert!(error.contains("CAP_BPF"), "{error}");
}

/// Programs on the host's device, the lab's own VLAN classifiers left out: lines of `ip` and `tc`.
pub(super) fn attached(host: &Host) -> Vec<String> {
    let run = |program: &str, words: &[&str]| {
        let output = host
            .namespace
            .command(program)
            .args(words)
            .output()
            .expect("a program");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let device = host.device;
    let text = run("ip", &["-d", "link", "show", device])
        + &run("tc", &["filter", "show", "dev", device, "egress"]);
    text.lines()
        .filter(|line| line.contains("prog/xdp") || line.contains("bpf"))
        .map(str::to_owned)
        .collect()
}
