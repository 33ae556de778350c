//! Zeek's logs: every row must be told by some event.

use anyhow::Result;
use serde_json::Value;

use super::{
    Outcome, Skip,
    capture::{Run, address, between},
    index::Case,
};

pub(super) fn decide(case: &Case, run: &Run) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let mut counts = Vec::new();
    for file in case.files() {
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let tells = match name {
            "conn.log" => conn,
            "dns.log" => dns,
            "http.log" => http,
            "ssl.log" => ssl,
            _ => {
                outcomes.push(Outcome::Skip(Skip::OtherProtocol));
                continue;
            }
        };
        let text = String::from_utf8_lossy(&std::fs::read(&file)?).into_owned();
        let rows = rows(&text);
        if rows.is_empty() {
            outcomes.push(Outcome::Skip(Skip::NotThere));
        }
        outcomes.extend(rows.iter().map(|row| {
            if row.get("id.orig_h").is_none() {
                return Outcome::Skip(Skip::NotThere);
            }
            let told = run.events.iter().any(|event| tells(row, event));
            Outcome::of(told, || format!("{name}: no event for {:?}", row.0))
        }));
        counts.extend(count(name, &rows, run));
    }
    // Behind all rows, whose numbers the lists of passes and skips name.
    outcomes.extend(counts);
    Ok(outcomes)
}

/// A log that has all transactions has as many rows as there are events.
fn count(name: &str, rows: &[Row], run: &Run) -> Option<Outcome> {
    let is = |event: &&Value| match name {
        "http.log" => event["event_type"] == "http",
        "ssl.log" => event["event_type"] == "tls",
        _ => event["event_type"] == "dns" && event["dns"]["type"] == "response",
    };
    let rows = match name {
        "http.log" | "ssl.log" => rows.len(),
        // One row tells a query and its response.
        "dns.log" => rows.iter().filter(|row| row.get("rcode").is_some()).count(),
        _ => return None,
    };
    let events = run.events.iter().filter(is).count();
    Some(Outcome::of(rows == events, || {
        format!("{name}: {events} events for {rows} rows")
    }))
}

/// A row by column; unset and empty fields are left out.
#[derive(Debug)]
struct Row(Vec<(String, String)>);

impl Row {
    fn get(&self, column: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == column)
            .map(|(_, value)| value.as_str())
    }

    fn number(&self, column: &str) -> Option<u64> {
        self.get(column)?.parse().ok()
    }

    /// Whether the event's value is the row's, where the row has one.
    fn agrees(&self, column: &str, value: &Value) -> bool {
        self.get(column).is_none_or(|expected| match value {
            Value::String(text) => text.eq_ignore_ascii_case(expected),
            Value::Number(number) => number.to_string() == expected,
            _ => false,
        })
    }

    /// The same for columns that are false where the event leaves a field out.
    fn agrees_flag(&self, column: &str, value: &Value) -> bool {
        self.get(column)
            .is_none_or(|expected| (expected == "T") == (*value == true))
    }

    fn ends(&self) -> Option<[(&str, u64); 2]> {
        Some([
            (self.get("id.orig_h")?, self.number("id.orig_p")?),
            (self.get("id.resp_h")?, self.number("id.resp_p")?),
        ])
    }

    fn is_from(&self, event: &Value) -> bool {
        self.ends()
            .is_some_and(|[orig, resp]| between(event, orig, resp))
    }

    fn is_between(&self, event: &Value) -> bool {
        self.ends()
            .is_some_and(|[orig, resp]| between(event, orig, resp) || between(event, resp, orig))
    }
}

fn rows(text: &str) -> Vec<Row> {
    let fields = text.lines().find_map(|line| line.strip_prefix("#fields\t"));
    let Some(fields) = fields.map(|line| line.split('\t').collect::<Vec<_>>()) else {
        return Vec::new();
    };
    let row = |line: &str| {
        let cells = fields.iter().zip(line.split('\t'));
        let set = cells.filter(|(_, value)| !matches!(*value, "-" | "(empty)"));
        Row(set
            .map(|(name, value)| ((*name).to_owned(), value.to_owned()))
            .collect())
    };
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(row)
        .collect()
}

fn conn(row: &Row, event: &Value) -> bool {
    if event["event_type"] != "flow" {
        return false;
    }
    let proto = event["proto"].as_str().unwrap_or_default();
    // Zeek puts ICMP's type and code where ports are, and has one name for both versions.
    let (proto, ends) = if proto.ends_with("ICMP") {
        let same = |column, key: &str| {
            row.get(column).and_then(address) == event[key].as_str().and_then(address)
        };
        (
            "icmp",
            same("id.orig_h", "src_ip") && same("id.resp_h", "dest_ip"),
        )
    } else {
        (proto, row.is_from(event))
    };
    let known = row.get("proto") != Some("unknown_transport");
    // EVE counts frames, Zeek what IP's length says, which is 0 where segments were offloaded.
    // Link headers, tags and whatever follows the IP packet may come on top.
    let bytes = |ip: &str, payload: &str, key: &str| {
        let (ip, payload) = (row.number(ip), row.number(payload));
        ip.is_none_or(|ip| {
            payload.is_some_and(|payload| payload > ip)
                || event["flow"][key]
                    .as_u64()
                    .is_some_and(|frames| frames >= ip)
        })
    };
    ends && (!known
        || row
            .get("proto")
            .is_none_or(|name| name.eq_ignore_ascii_case(proto)))
        && row.agrees("conn_state", &event["sensor"]["conn_state"])
        && row.agrees("orig_pkts", &event["flow"]["pkts_toserver"])
        && row.agrees("resp_pkts", &event["flow"]["pkts_toclient"])
        && bytes("orig_ip_bytes", "orig_bytes", "bytes_toserver")
        && bytes("resp_ip_bytes", "resp_bytes", "bytes_toclient")
}

fn dns(row: &Row, event: &Value) -> bool {
    let dns = &event["dns"];
    // A row without response code has no response to match.
    let kind = if row.get("rcode").is_some() {
        "response"
    } else {
        "request"
    };
    event["event_type"] == "dns"
        && dns["type"] == kind
        && row.is_between(event)
        && row.agrees("trans_id", &dns["id"])
        && row.agrees("query", &dns["queries"][0]["rrname"])
        && row.agrees("rcode_name", &dns["rcode"])
        && (row.get("qtype_name").is_some_and(|name| name == "*")
            || row.agrees("qtype_name", &dns["queries"][0]["rrtype"]))
        && (kind == "request" || row.agrees_flag("AA", &dns["aa"]))
        && row.agrees_flag("TC", &dns["tc"])
        && (kind == "request" || row.agrees_flag("RA", &dns["ra"]))
}

fn http(row: &Row, event: &Value) -> bool {
    let http = &event["http"];
    let host = row
        .get("host")
        .map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    let host_agrees = host.is_none_or(|host| {
        http["hostname"]
            .as_str()
            .is_some_and(|name| name.eq_ignore_ascii_case(host))
    });
    event["event_type"] == "http"
        && row.is_from(event)
        && host_agrees
        && row.agrees("method", &http["http_method"])
        && row.agrees("uri", &http["url"])
        && row.agrees("referrer", &http["http_refer"])
        && row.agrees("user_agent", &http["http_user_agent"])
        && row.agrees("status_code", &http["status"])
}

fn ssl(row: &Row, event: &Value) -> bool {
    let tls = &event["tls"];
    let version = tls["version"].as_str().unwrap_or_default();
    let version = match version {
        "TLSv1" => "TLSv10".to_owned(),
        draft if draft.contains("draft") => "TLSv13-".to_owned(),
        other => other.replace("TLS 1.", "TLSv1"),
    };
    let version_agrees = row.get("version").is_none_or(|expected| {
        version == expected || version == "TLSv13-" && expected.starts_with("TLSv13")
    });
    event["event_type"] == "tls"
        && row.is_from(event)
        && version_agrees
        && row.agrees("server_name", &tls["sni"])
        && row.agrees("cipher", &event["sensor"]["cipher"])
        && row.agrees_flag("resumed", &tls["session_resumed"])
        && row.agrees("next_protocol", &tls["server_alpns"][0])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "#separator \\x09\n#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tconn_state\torig_pkts\torig_ip_bytes\n#types\ttime\n1.0\t192.0.2.1\t40000\t2001:db8::1\t53\tudp\tSF\t3\t120\n";

    #[test]
    fn a_row_is_told_by_its_flow_and_by_no_altered_one() {
        let rows = rows(LOG);
        let right = r#"{"event_type":"flow","src_ip":"192.0.2.1","src_port":40000,"proto":"UDP",
            "dest_ip":"2001:0db8:0000:0000:0000:0000:0000:0001","dest_port":53,
            "sensor":{"conn_state":"SF"},"flow":{"pkts_toserver":3,"bytes_toserver":162}}"#;
        let told = |text: &str| conn(&rows[0], &serde_json::from_str(text).unwrap());
        assert!(told(right));
        for (from, to) in [
            ("SF", "S0"),
            ("40000", "40001"),
            ("UDP", "TCP"),
            (":3,", ":4,"),
            (":162", ":119"),
            (":53", ":54"),
            ("flow\",\"src", "dns\",\"src"),
        ] {
            let wrong = right.replace(from, to);
            assert!(wrong != right && !told(&wrong), "{wrong}");
        }
    }
}
