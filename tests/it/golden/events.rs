use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::{capture, events_of, folder};

/// Every capture, by what it shows.
const CAPTURES: [&str; 13] = [
    "dns",
    "dns-ipv6",
    "fragments",
    "http",
    "http-ipv6",
    "icmp",
    "qinq",
    "refused",
    "ssh",
    "tls12",
    "tls13",
    "vlan",
    "vxlan",
];

#[test]
fn captures_give_the_expected_events() {
    let bless = std::env::var_os("SENSOR_BLESS").is_some();
    let mut differing = Vec::new();
    for name in CAPTURES {
        let lines = events_of(&format!("{name}.pcap"));
        assert!(!lines.is_empty(), "{name} gives events");
        let expected = folder().join("expected").join(name).with_extension("jsonl");
        if bless {
            fs::write(&expected, &lines).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != lines {
            let path = std::env::temp_dir().join(format!("sensor-golden-{name}.jsonl"));
            fs::write(&path, &lines).unwrap();
            differing.push(format!("diff {} {}", expected.display(), path.display()));
        }
    }
    assert!(
        differing.is_empty(),
        "events differ:\n{}",
        differing.join("\n")
    );
}

#[test]
fn events_are_valid_by_the_published_schema() {
    let path = folder().join("../../../docs/eve.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut types = BTreeSet::new();
    for name in CAPTURES {
        for line in events_of(&format!("{name}.pcap")).lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let errors: Vec<_> = validator
                .iter_errors(&event)
                .map(|e| e.to_string())
                .collect();
            assert!(errors.is_empty(), "{name}: {errors:?} in {line}");
            types.insert(event["event_type"].as_str().unwrap().to_owned());
        }
    }
    for kind in ["dns", "flow", "http", "tls"] {
        assert!(types.contains(kind), "no {kind} among {types:?}");
    }
}

#[test]
fn flows_count_every_packet_of_a_capture() {
    for name in CAPTURES {
        let reader =
            sensor::source::capture::Reader::open(&capture(&format!("{name}.pcap"))).unwrap();
        let frames: Vec<_> = reader.map(Result::unwrap).collect();
        let bytes: u64 = frames.iter().map(|frame| u64::from(frame.wire_len)).sum();
        let mut counted = (0, 0);
        for line in events_of(&format!("{name}.pcap")).lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            // What is within others is in their counts.
            if !event["tunnel"].is_null() {
                continue;
            }
            let number = |key: &str| event["flow"][key].as_u64().unwrap_or(0);
            counted.0 += number("pkts_toserver") + number("pkts_toclient");
            counted.1 += number("bytes_toserver") + number("bytes_toclient");
        }
        assert_eq!(counted, (frames.len() as u64, bytes), "{name}");
    }
}
