//! Arkime's sessions: ends, packets and Community ID of every one.

use anyhow::Result;
use serde_json::Value;

use super::{
    Outcome, Skip,
    capture::{Run, address},
    index::Case,
};

pub(super) fn decide(case: &Case, run: &Run) -> Result<Vec<Outcome>> {
    let text = case.text()?;
    let expected: Value = serde_json::from_str(&text)?;
    let sessions = expected["sessions3"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    Ok(sessions
        .iter()
        .map(|session| decide_session(&session["body"], run))
        .collect())
}

fn decide_session(session: &Value, run: &Run) -> Outcome {
    if session["source"]["ip"].is_null() || session["ipProtocol"].is_null() {
        return Outcome::Skip(Skip::OtherProtocol);
    }
    let told = run.events_of("flow").any(|flow| tells(session, flow));
    Outcome::of(told, || {
        let end = |side: &str| format!("{}:{}", session[side]["ip"], session[side]["port"]);
        format!(
            "no flow for {} {} of {}",
            end("source"),
            end("destination"),
            session["network"]
        )
    })
}

fn tells(session: &Value, flow: &Value) -> bool {
    let end =
        |ip: &Value, port: &Value| (ip.as_str().and_then(address), port.as_u64().unwrap_or(0));
    let icmp = flow["proto"]
        .as_str()
        .is_some_and(|proto| proto.ends_with("ICMP"));
    let of_session = |side: &str| {
        let port = if icmp {
            &Value::Null
        } else {
            &session[side]["port"]
        };
        end(&session[side]["ip"], port)
    };
    let source = end(&flow["src_ip"], &flow["src_port"]);
    let destination = end(&flow["dest_ip"], &flow["dest_port"]);
    let same = [of_session("source"), of_session("destination")] == [source, destination];
    let packets = |direction: &str| flow["flow"][direction].as_u64();
    // For protocols without ports Arkime hashes ports of 0, which the specification leaves out.
    let comparable = matches!(session["ipProtocol"].as_u64(), Some(1 | 6 | 17 | 58 | 132));
    let community_id = &session["network"]["community_id"];
    same && packets("pkts_toserver") == session["source"]["packets"].as_u64()
        && packets("pkts_toclient") == session["destination"]["packets"].as_u64()
        && (!comparable || community_id.is_null() || *community_id == flow["community_id"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_told_by_its_flow_and_by_no_altered_one() {
        let session = serde_json::json!({
            "source": { "ip": "192.0.2.1", "port": 1, "packets": 2 },
            "destination": { "ip": "192.0.2.2", "port": 3, "packets": 4 },
            "network": { "community_id": "1:x" }, "ipProtocol": 6
        });
        let right = r#"{"event_type":"flow","src_ip":"192.0.2.1","src_port":1,"dest_ip":"192.0.2.2","dest_port":3,"proto":"TCP","community_id":"1:x","flow":{"pkts_toserver":2,"pkts_toclient":4}}"#;
        let outcome = |flow: &str| {
            let run = Run {
                events: vec![serde_json::from_str(flow).unwrap()],
                ..Run::default()
            };
            decide_session(&session, &run)
        };
        assert_eq!(outcome(right), Outcome::Pass);
        for (from, to) in [
            ("2.1", "2.9"),
            ("port\":3", "port\":4"),
            ("1:x", "1:y"),
            ("server\":2", "server\":3"),
            ("client\":4", "client\":5"),
            ("\"flow\",", "\"dns\","),
        ] {
            let wrong = right.replacen(from, to, 1);
            assert!(matches!(outcome(&wrong), Outcome::Fail(_)), "{wrong}");
        }
    }
}
