//! JA4 snapshots: fingerprint and server name of every TLS client over TCP.

use anyhow::Result;
use serde_yaml_ng::Value as Yaml;

use super::{
    Outcome, Skip,
    capture::{Run, between},
    index::Case,
};

pub(super) fn decide(case: &Case, run: &Run) -> Result<Vec<Outcome>> {
    let text = case.text()?;
    // The snapshot is the second document of the file, behind its metadata.
    let streams = text.splitn(3, "---").nth(2).unwrap_or_default();
    let streams: Yaml = serde_yaml_ng::from_str(streams)?;
    let streams = streams.as_sequence().map(Vec::as_slice).unwrap_or_default();
    Ok(streams
        .iter()
        .map(|stream| decide_stream(stream, run))
        .collect())
}

fn decide_stream(stream: &Yaml, run: &Run) -> Outcome {
    let text = |key: &str| stream[key].as_str().unwrap_or_default();
    if text("ja4").is_empty() || text("transport") != "tcp" {
        return Outcome::Skip(Skip::OtherProtocol);
    }
    let end = |ip: &'static str, port: &str| (text(ip), stream[port].as_u64().unwrap_or(0));
    let (from, to) = (end("src", "src_port"), end("dst", "dst_port"));
    let told = run.events_of("tls").any(|event| {
        let name = stream["tls_server_name"].as_str();
        between(event, from, to)
            && event["tls"]["ja4"] == text("ja4")
            && name.is_none_or(|name| event["tls"]["sni"] == name)
    });
    Outcome::of(told, || {
        format!("no tls event for {from:?} {to:?} {}", text("ja4"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_snapshots_fingerprint_passes() {
        let stream = serde_yaml_ng::from_str("{transport: tcp, src: 192.0.2.1, dst: 192.0.2.2, src_port: 1, dst_port: 2, ja4: t13, tls_server_name: a}").unwrap();
        let decide = |ja4: &str, name: &str, port: u64| {
            let event = serde_json::json!({
                "event_type": "tls", "src_ip": "192.0.2.1", "src_port": port,
                "dest_ip": "192.0.2.2", "dest_port": 2, "tls": { "ja4": ja4, "sni": name }
            });
            decide_stream(
                &stream,
                &Run {
                    events: vec![event],
                    ..Run::default()
                },
            )
        };
        assert_eq!(decide("t13", "a", 1), Outcome::Pass);
        for wrong in [
            decide("t12", "a", 1),
            decide("t13", "b", 1),
            decide("t13", "a", 9),
        ] {
            assert!(matches!(wrong, Outcome::Fail(_)));
        }
    }
}
