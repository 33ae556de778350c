//! `test.yaml`: how many EVE records match which values.

mod filter;

use anyhow::Result;
use serde_yaml_ng::Value as Yaml;

use self::filter::{count, field};
use super::{Outcome, Skip, capture::Run, index::Case};

/// The version whose records are written.
const VERSION: [u64; 3] = [8, 0, 6];

pub(super) fn decide(case: &Case) -> Result<Vec<Outcome>> {
    let text = case.text()?;
    let test: Yaml = serde_yaml_ng::from_str(&text)?;
    let options = Options::of(&test);
    let run = Run::of(&case.capture, options.midstream)?;
    let skip_all = options.skip.or_else(|| unmet(&test["requires"]));
    let checks = test["checks"]
        .as_sequence()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let decide = |check: &Yaml| skip_all.map_or_else(|| decide_check(check, &run), Outcome::Skip);
    Ok(checks.iter().map(decide).collect())
}

fn decide_check(check: &Yaml, run: &Run) -> Outcome {
    let filter = &check["filter"];
    let Some(matches) = filter["match"].as_mapping() else {
        return Outcome::Skip(Skip::ToolOption);
    };
    if let Some(reason) = unmet(&filter["requires"]).or_else(|| uncounted(filter)) {
        return Outcome::Skip(reason);
    }
    let Some(expected) = filter["count"].as_u64() else {
        return Outcome::Skip(Skip::NotThere);
    };
    let found = count(&run.events, matches);
    Outcome::of(found == expected, || {
        format!(
            "{found} instead of {expected}: {}",
            serde_json::to_string(matches).unwrap_or_default()
        )
    })
}

/// Command-line options of the other tool, as far as they mean something here.
struct Options {
    midstream: bool,
    skip: Option<Skip>,
}

impl Options {
    fn of(test: &Yaml) -> Self {
        let mut options = Self {
            midstream: false,
            skip: None,
        };
        if !test["env"].is_null() {
            options.skip = Some(Skip::Version);
        }
        let args = test["args"]
            .as_sequence()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let words = args
            .iter()
            .filter_map(Yaml::as_str)
            .flat_map(str::split_whitespace);
        for word in words {
            match word {
                "stream.midstream=true" => options.midstream = true,
                // Wrong checksums change nothing by default; threads make no difference.
                "-k"
                | "none"
                | "--set"
                | "--runmode=single"
                | "--runmode=autofp"
                | "stream.midstream=false"
                | "stream.async-oneside=true"
                | "stream.async-oneside=false"
                | "stream.reassembly.depth=0"
                | "app-layer.protocols.tls.ja4-fingerprints=yes"
                | "app-layer.protocols.tls.ja3-fingerprints=yes" => {}
                "--simulate-ips" | "stream.inline=true" => options.skip = Some(Skip::Ips),
                _ => options.skip = options.skip.or(Some(Skip::ToolOption)),
            }
        }
        options
    }
}

/// Why a `requires` block is not met.
fn unmet(requires: &Yaml) -> Option<Skip> {
    let version = |key: &str| {
        let value = &requires[key];
        let text = value.as_str().map(str::to_owned);
        let text = text.or_else(|| value.as_u64().map(|number| number.to_string()));
        let text = text.or_else(|| value.as_f64().map(|number| number.to_string()))?;
        let mut numbers = text.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
        Some([(); 3].map(|()| numbers.next().unwrap_or(0)))
    };
    if version("min-version").is_some_and(|least| VERSION < least)
        || version("lt-version").is_some_and(|limit| VERSION >= limit)
        || version("version").is_some_and(|exact| VERSION[0] != exact[0])
    {
        return Some(Skip::Version);
    }
    let features = requires["features"]
        .as_sequence()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let known = |feature: &Yaml| matches!(feature.as_str(), Some("HAVE_JA3" | "HAVE_JA4"));
    (!features.iter().all(known)).then_some(Skip::ToolOption)
}

/// Why a filter is about something that is not counted.
fn uncounted(filter: &Yaml) -> Option<Skip> {
    let matches = &filter["match"];
    if filter["filename"]
        .as_str()
        .is_some_and(|name| name != "eve.json")
    {
        return Some(Skip::ToolOption);
    }
    let keys = matches.as_mapping().into_iter().flatten();
    for (key, value) in keys.filter_map(|(key, value)| Some((key.as_str()?, value))) {
        let named = match key {
            "has-key" | "not-has-key" => value.as_str().unwrap_or_default(),
            key => key,
        };
        let layout_2 = matches!(named, "dns.rrname" | "dns.rrtype" | "dns.rdata")
            || named == "dns.type" && matches!(value.as_str(), Some("query" | "answer"));
        if layout_2 {
            return Some(Skip::Version);
        }
        if named.starts_with("flow.exception_policy") || named.starts_with("ether") {
            return Some(Skip::ToolOption);
        }
        if [
            "alert",
            "metadata",
            "files",
            "fileinfo",
            "flow.alerted",
            "flow.action",
            "verdict",
        ]
        .iter()
        .any(|rule| named.starts_with(rule))
        {
            return Some(Skip::Rules);
        }
    }
    let value = |key: &str| matches[key].as_str().unwrap_or_default();
    if value("flow.state") == "bypassed" {
        return Some(Skip::ToolOption);
    }
    let app_proto = |key: &str| !matches!(value(key), "" | "dns" | "http" | "tls" | "failed");
    if [
        "app_proto",
        "app_proto_ts",
        "app_proto_tc",
        "app_proto_orig",
    ]
    .into_iter()
    .any(app_proto)
    {
        return Some(Skip::OtherProtocol);
    }
    let prefix = |key: &str| {
        let keys = matches.as_mapping().into_iter().flatten();
        keys.filter_map(|(name, _)| name.as_str())
            .any(|name| field(name).starts_with(key))
    };
    match value("event_type") {
        "dns" | "http" | "tls" | "flow" => None,
        "alert" | "drop" => Some(Skip::Rules),
        "stats" => Some(Skip::ToolOption),
        "" if ["dns.", "http.", "tls.", "flow."].into_iter().any(prefix) => None,
        _ => Some(Skip::OtherProtocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(check: &str, events: &str) -> Outcome {
        let run = Run {
            events: serde_json::from_str(events).unwrap(),
            ..Run::default()
        };
        decide_check(&serde_yaml_ng::from_str(check).unwrap(), &run)
    }

    const CHECK: &str = "filter: {count: 1, match: {event_type: dns, dns.id: 7, 'dns.queries[0].rrname': a.example}}";

    #[test]
    fn the_stated_events_pass_and_altered_ones_fail() {
        let right = r#"[{"event_type":"dns","dns":{"id":7,"queries":[{"rrname":"a.example"}]}}]"#;
        assert_eq!(outcome(CHECK, right), Outcome::Pass);
        for wrong in [
            "[]".to_owned(),
            right.replace('7', "8"),
            right.replace("a.example", "b.example"),
            right.replace("\"dns\",", "\"flow\","),
            right.replace("[{\"rrname\":\"a.example\"}]", "[]"),
            format!(
                "{},{}",
                right.trim_end_matches(']'),
                right.trim_start_matches('[')
            ),
        ] {
            assert!(
                matches!(outcome(CHECK, &wrong), Outcome::Fail(_)),
                "{wrong}"
            );
        }
    }

    #[test]
    fn what_needs_rules_or_another_version_is_skipped() {
        let skip = |check: &str| outcome(check, "[]");
        let filter = |body: &str| skip(&format!("filter: {{count: 0, {body}}}"));
        assert_eq!(
            filter("match: {event_type: alert}"),
            Outcome::Skip(Skip::Rules)
        );
        assert_eq!(
            filter("match: {event_type: flow, flow.alerted: true}"),
            Outcome::Skip(Skip::Rules)
        );
        assert_eq!(
            filter("match: {event_type: smb}"),
            Outcome::Skip(Skip::OtherProtocol)
        );
        assert_eq!(
            filter("requires: {lt-version: 8}, match: {event_type: dns}"),
            Outcome::Skip(Skip::Version)
        );
        assert_eq!(
            filter("requires: {min-version: 7.0.3}, match: {event_type: dns}"),
            Outcome::Pass
        );
        assert_eq!(skip("shell: {args: ls}"), Outcome::Skip(Skip::ToolOption));
    }
}
