//! What a running sensor is asked for and told from outside: samples, questions, addresses.

use std::net::SocketAddr;

use sensor_tests::{
    Generator, Sensor, SensorOptions, StreamSpec, root_or_skip, sensor_binary, traffic, until,
};
use serde_json::Value;

use super::{lab, with_config};

fn start(lab: &sensor_tests::Lab, args: &[&str]) -> Sensor {
    let options = SensorOptions {
        args: args.iter().map(|&word| word.to_owned()).collect(),
        ..SensorOptions::default()
    };
    Sensor::start(&lab.server, &options).expect("the sensor starts")
}

/// Fetches a page, then asks DNS.
fn traffic(lab: &sensor_tests::Lab) {
    let server = lab.server.ipv4(0);
    let done = lab.client.block_on(async {
        traffic::http_get((server, 80).into(), "lab.example", "/").await?;
        traffic::dns_query(server, 7, "www.example", traffic::DnsType::A).await
    });
    assert_eq!(done.expect("a namespace").expect("exchanges"), 0);
}

fn dns_is_told(sensor: &Sensor) {
    until("an answer's event", || {
        let events = sensor.events();
        let told = events.iter().filter(|event| event["event_type"] == "dns");
        (told.count() >= 2).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:#?}", sensor.events()));
}

#[test]
fn a_syn_flood_raises_an_alert() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _servers = traffic::Servers::start(&lab.server).expect("servers");
    let sensor = start(&lab, &[]);
    let target = SocketAddr::new(lab.server.ipv4(0), 80);
    let spec = StreamSpec {
        flows: 1 << 12,
        rate: Some(2000),
        ..StreamSpec::syns(target, lab.server.mac())
    };
    let flood = Generator::start(&lab.attacker.namespace, "a0", &spec).expect("a flood");
    let alert = until("an alert", || {
        let events = sensor.events();
        events
            .iter()
            .find(|event| event["event_type"] == "alert")
            .cloned()
    });
    let sent = flood.stop().expect("the flood ends");
    let alert = alert.unwrap_or_else(|error| panic!("{error} ({sent:?}): {}", sensor.messages()));
    assert_eq!(alert["dest_ip"], target.ip().to_string(), "{alert}");
    assert_eq!(alert["dest_port"], 80, "{alert}");
    let alerts = sensor.sum("sensor_alerts_total", &["detector=\"syn_flood\""]);
    assert_eq!(alerts.expect("the counter"), 1.0);
    assert_eq!(
        sensor
            .sum("sensor_accounting_error_packets", &[])
            .expect("the gauge"),
        0.0
    );
}

#[test]
fn a_port_filter_limits_samples_not_counts() {
    if !root_or_skip() {
        return;
    }
    for (filter, sampled) in [
        ("ports = [53]", true),
        ("addresses = [\"10.77.0.1\"]\nports = [53]", true),
        ("addresses = [\"10.77.0.9\"]", false),
    ] {
        let lab = lab();
        let _servers = traffic::Servers::start(&lab.server).expect("servers");
        let (_directory, options) = with_config(&format!("[sampling.filter]\n{filter}\n"));
        let sensor = Sensor::start(&lab.server, &options).expect("the sensor starts");
        traffic(&lab);
        if sampled {
            dns_is_told(&sensor);
        }
        let ended = sensor.stop().expect("it ends");
        let of = |kind: &str| -> Vec<&Value> {
            let events = ended.events.iter();
            events.filter(|event| event["event_type"] == kind).collect()
        };
        assert_eq!(of("dns").is_empty(), !sampled, "{filter}");
        assert!(
            of("http").is_empty(),
            "{filter}: HTTP was not to be sampled"
        );
        let flows = of("flow");
        let page = flows.iter().find(|flow| flow["dest_port"] == 80);
        let page = page.unwrap_or_else(|| panic!("{filter}: its packets count: {flows:#?}"));
        assert!(page["flow"]["pkts_toserver"].as_u64() >= Some(4), "{page}");
    }
}

#[test]
fn full_sampling_takes_every_packet() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _servers = traffic::Servers::start(&lab.server).expect("servers");
    let sensor = start(&lab, &["--sampling", "full"]);
    traffic(&lab);
    dns_is_told(&sensor);
    until("as many samples as packets", || {
        let sum = |name| sensor.sum(name, &[]).expect("a counter");
        let (sampled, packets) = (
            sum("sensor_sampled_packets_total"),
            sum("sensor_packets_total"),
        );
        (sampled == packets && sum("sensor_sample_lost_packets_total") == 0.0).then_some(())
    })
    .expect("every packet is sampled");
}

#[test]
fn metrics_and_questions_are_answered_where_they_are_told_to_be() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let outside = SocketAddr::new(lab.server.ipv4(0), 19_200);
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("control.sock");
    let options = SensorOptions {
        args: [
            "--listen",
            "127.0.0.1:19100",
            "--listen",
            &outside.to_string(),
        ]
        .map(str::to_owned)
        .into(),
        socket: Some(socket.clone()),
        ..SensorOptions::default()
    };
    let sensor = Sensor::start(&lab.server, &options).expect("the sensor starts");
    let host = outside.to_string();
    for (path, status) in [("/metrics", 200), ("/readyz", 200), ("/api/v1/flows", 404)] {
        let page = lab
            .client
            .block_on(traffic::http_get(outside, &host, path))
            .expect("a namespace")
            .expect("an answer");
        assert_eq!(page.0, status, "{path}");
    }

    let ask = |words: &[&str]| {
        let output = lab
            .server
            .namespace
            .command(sensor_binary())
            .args(words)
            .output()
            .expect("the command runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code(),
            String::from_utf8(output.stdout).expect("text"),
            said,
        )
    };
    let path = socket.to_str().expect("a path");
    for question in ["status", "stats", "flows"] {
        let (code, text, said) = ask(&[question, "--json", "--socket", path]);
        assert_eq!(code, Some(0), "{question}: {said}");
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let (code, text, said) = ask(&[question, "--socket", path]);
        assert_eq!(
            (code, text.is_empty()),
            (Some(0), false),
            "{question}: {said}"
        );
    }

    // The device is taken, and doctor says by whom.
    let finding = |text: &str| -> Value {
        let findings: Vec<Value> = serde_json::from_str(text).expect("findings");
        let found = findings.iter().find(|one| one["subject"] == "s0 interface");
        found.expect("the interface").clone()
    };
    let (code, text, _) = ask(&["doctor", "-i", "s0", "--json"]);
    let taken = finding(&text);
    assert_eq!(
        (code, &taken["grade"]),
        (Some(1), &"failure".into()),
        "{taken}"
    );
    assert!(
        taken["found"].to_string().contains("already runs"),
        "{taken}"
    );
    assert!(sensor.stop().expect("it ends").status.success());
    let (code, text, _) = ask(&["doctor", "-i", "s0", "--json"]);
    let free = finding(&text);
    assert_eq!((code, &free["grade"]), (Some(0), &"ok".into()), "{text}");
    let (code, _, said) = ask(&["stats", "--socket", path]);
    assert_eq!(code, Some(1), "nobody is there to ask: {said}");
}
