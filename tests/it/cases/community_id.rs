//! The Community ID specification's baseline: ids by tuple.

use anyhow::Result;
use serde_json::Value;

use super::{
    Outcome,
    capture::{Run, address},
    index::Case,
};

pub(super) fn decide(case: &Case, run: &Run) -> Result<Vec<Outcome>> {
    let text = case.text()?;
    let baseline: Vec<Value> = serde_json::from_str(&text)?;
    Ok(run
        .events_of("flow")
        .map(|flow| decide_flow(flow, &baseline))
        .collect())
}

fn decide_flow(flow: &Value, baseline: &[Value]) -> Outcome {
    let told = baseline.iter().any(|tuple| tells(tuple, flow));
    Outcome::of(told, || format!("no baseline for {flow}"))
}

fn tells(tuple: &Value, flow: &Value) -> bool {
    let ip = |value: &Value| value.as_str().and_then(address);
    // ICMP's type and code are where a flow without ports has none.
    let port = |value: &Value, key: &str| flow[key].is_null() || *value == flow[key];
    ip(&tuple["saddr"]) == ip(&flow["src_ip"])
        && ip(&tuple["daddr"]) == ip(&flow["dest_ip"])
        && port(&tuple["sport"], "src_port")
        && port(&tuple["dport"], "dest_port")
        && tuple["communityid"] == flow["community_id"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_baselines_id_passes() {
        let tuple = serde_json::json!({ "saddr": "192.0.2.1", "daddr": "192.0.2.2", "sport": 1, "dport": 2, "communityid": "1:x" });
        let flow = |id: &str, port: u64| serde_json::json!({ "src_ip": "192.0.2.1", "dest_ip": "192.0.2.2", "src_port": port, "dest_port": 2, "community_id": id });
        let decide = |flow| decide_flow(&flow, std::slice::from_ref(&tuple));
        assert_eq!(decide(flow("1:x", 1)), Outcome::Pass);
        assert!(matches!(decide(flow("1:y", 1)), Outcome::Fail(_)));
        assert!(matches!(decide(flow("1:x", 3)), Outcome::Fail(_)));
    }
}
