use std::{collections::BTreeMap, net::Ipv6Addr};

use super::*;
use crate::core::time::Timestamp;

fn json(event: &Event) -> serde_json::Value {
    serde_json::to_value(event).unwrap()
}

fn anomaly() -> Body {
    Body::Anomaly {
        anomaly: Anomaly {
            app_proto: Some("http"),
            kind: AnomalyKind::Applayer,
            event: "REQUEST_FIELD_MISSING_COLON",
            layer: Some(Layer::ProtoParser),
        },
    }
}

#[test]
fn times_are_utc_with_microseconds() {
    for (nanoseconds, expected) in [
        (0, "1970-01-01T00:00:00.000000+0000"),
        (951_827_696_000_001_999, "2000-02-29T12:34:56.000001+0000"),
        (1_767_323_045_678_901_000, "2026-01-02T03:04:05.678901+0000"),
        (4_294_967_296_999_999_999, "2106-02-07T06:28:16.999999+0000"),
        (u64::MAX, "2554-07-21T23:34:33.709551+0000"),
    ] {
        let event = Event::new(Timestamp(nanoseconds), anomaly());
        assert_eq!(json(&event)["timestamp"], expected);
    }
}

#[test]
fn certificate_dates_reach_from_year_0_to_9999() {
    let text = |seconds| serde_json::to_value(CertTime(seconds)).unwrap();
    assert_eq!(text(-1), "1969-12-31T23:59:59");
    assert_eq!(text(1_048_899_464), "2003-03-29T00:57:44");
    assert_eq!(text(i64::MIN), "0000-01-01T00:00:00");
    assert_eq!(text(i64::MAX), "9999-12-31T23:59:59");
}

#[test]
fn addresses_are_written_in_full() {
    let mut event = Event::new(Timestamp(0), anomaly());
    event.src_ip = Some("192.168.0.255".parse::<std::net::IpAddr>().unwrap().into());
    event.dest_ip = Some(
        "2001:db8::8a2e:370:7334"
            .parse::<Ipv6Addr>()
            .unwrap()
            .into(),
    );
    event.proto = Some(Proto(58));
    let value = json(&event);
    assert_eq!(value["src_ip"], "192.168.0.255");
    assert_eq!(value["dest_ip"], "2001:0db8:0000:0000:0000:8a2e:0370:7334");
    assert_eq!(value["proto"], "IPv6-ICMP");
    assert_eq!(serde_json::to_value(Proto(253)).unwrap(), "253");
}

#[test]
fn bytes_are_escaped_never_lost() {
    let text = |bytes: &'static [u8]| {
        serde_json::to_string(&Text(bytes::Bytes::from_static(bytes))).unwrap()
    };
    assert_eq!(text(b"plain"), r#""plain""#);
    assert_eq!(text("caf\u{e9}".as_bytes()), "\"caf\u{e9}\"");
    assert_eq!(text(b"caf\xe9\x01\""), r#""caf\\xe9\u0001\"""#);
}

#[test]
fn the_body_names_the_event_type() {
    let value = json(&Event::new(Timestamp(0), anomaly()));
    assert_eq!(value["event_type"], "anomaly");
    assert_eq!(value["anomaly"]["type"], "applayer");
    assert_eq!(value["anomaly"]["layer"], "proto_parser");
}

#[test]
fn answers_are_also_grouped_by_type() {
    let record = |rrtype: &'static str, data| Record {
        rrname: "example.com".into(),
        rrtype: rrtype.into(),
        ttl: 60,
        data,
    };
    let answers = Answers(vec![
        record(
            "A",
            Rdata::Address {
                rdata: std::net::Ipv4Addr::new(192, 0, 2, 1).into(),
            },
        ),
        record(
            "TXT",
            Rdata::Text {
                rdata: "v=spf1".into(),
            },
        ),
        record(
            "A",
            Rdata::Address {
                rdata: std::net::Ipv4Addr::new(192, 0, 2, 2).into(),
            },
        ),
        record("TYPE65280", Rdata::None {}),
    ]);
    let value = serde_json::to_value(&answers).unwrap();
    assert_eq!(
        value["grouped"],
        serde_json::json!({ "A": ["192.0.2.1", "192.0.2.2"], "TXT": ["v=spf1"] })
    );
    assert_eq!(
        value["answers"][3],
        serde_json::json!({
            "rrname": "example.com", "rrtype": "TYPE65280", "ttl": 60
        })
    );
}

#[test]
fn stats_are_groups_of_counters() {
    let stats = Stats {
        uptime: 3,
        groups: BTreeMap::from([("decoder", BTreeMap::from([("pkts", 7)]))]),
    };
    let value = json(&Event::new(
        Timestamp(0),
        Body::Stats {
            stats: Box::new(stats),
        },
    ));
    assert_eq!(
        value["stats"],
        serde_json::json!({ "uptime": 3, "decoder": { "pkts": 7 } })
    );
}
