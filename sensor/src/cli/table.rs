//! Answers as tables for a person.

use std::fmt::Write as _;

use serde_json::Value;

/// What the figures of a passive sensor lack.
const PASSIVE: &str = "passive: what another XDP program drops, redirects (XDP_REDIRECT) or answers \
                       (XDP_TX) is in no count, and nothing is stopped\n";

/// `sensor status`.
pub(super) fn status(value: &Value) -> String {
    let mut text = format!(
        "sensor {}, pid {}, up {}\n\n",
        string(&value["version"]),
        number(&value["pid"]),
        duration(number(&value["uptime_seconds"])),
    );
    let mut rows = vec![row(&[
        "INTERFACE",
        "MODE",
        "EGRESS",
        "RECEIVED",
        "SENT",
        "DROPPED",
    ])];
    for device in array(&value["interfaces"]) {
        let mode = if device["attached"] == true {
            string(&device["mode"])
        } else {
            "gone"
        };
        rows.push(vec![
            string(&device["name"]).to_owned(),
            mode.to_owned(),
            string(&device["egress"]).to_owned(),
            number(&device["packets_received"]).to_string(),
            number(&device["packets_sent"]).to_string(),
            number(&device["packets_dropped"]).to_string(),
        ]);
    }
    text.push_str(&align(&rows, 3));
    if array(&value["interfaces"])
        .iter()
        .any(|device| device["mode"] == "passive")
    {
        text.push_str(PASSIVE);
    }
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        text,
        "\nflow table        {} of {} entries\nlive flows        {}\ngenerations       {} closed, \
         {} failed\naccounting error  {} packets\n",
        number(&value["flow_table"]["entries"]),
        number(&value["flow_table"]["capacity"]),
        number(&value["flows_alive"]),
        number(&value["generations"]),
        number(&value["generation_errors"]),
        number(&value["accounting_error_packets"]),
    );
    if let Some(path) = value["pinned"]["path"].as_str() {
        let _ = writeln!(text, "pinned            {path}");
    }
    text.push_str(&guard(&value["guard"]));
    for output in array(&value["outputs"]) {
        let dropped =
            number(&output["dropped_queue_full"]) + number(&output["dropped_write_error"]);
        let _ = writeln!(
            text,
            "{:<17} {} events written, {dropped} dropped",
            string(&output["name"]),
            number(&output["events"]),
        );
    }
    text
}

/// The SYN-flood guard: its mode, and the destinations that it watches.
fn guard(value: &Value) -> String {
    let destinations = array(&value["destinations"]);
    let mut text = format!("SYN-flood guard   {}", string(&value["mode"]));
    let remedy = |family: &str| value["cookies"][family]["remedy"].as_str();
    match (remedy("ipv4"), remedy("ipv6")) {
        (Some(ipv4), Some(ipv6)) if ipv4 == ipv6 => {
            let _ = write!(text, "; no cookies: {ipv4}");
        }
        (ipv4, ipv6) => {
            for (family, remedy) in [("IPv4", ipv4), ("IPv6", ipv6)] {
                if let Some(remedy) = remedy {
                    let _ = write!(text, "; no cookies over {family}: {remedy}");
                }
            }
        }
    }
    let refused = number(&value["refused"]);
    if refused > 0 {
        let _ = write!(text, "; {refused} destinations found no room");
    }
    text.push('\n');
    if destinations.is_empty() {
        return text;
    }
    let mut rows = vec![row(&[
        "DESTINATION",
        "STATE",
        "METHOD",
        "SINCE",
        "SYN/S",
        "COMPLETED",
        "SYNS",
        "PASSED",
        "COOKIES",
        "DROPPED",
    ])];
    for one in destinations {
        let counted = |name: &str| number(&one["counted_total"][name]);
        let dropped = counted("first_dropped")
            + counted("source_limited")
            + counted("destination_limited")
            + counted("synack_limited")
            + counted("out_of_state");
        let method = match one["obstacle"].as_str() {
            Some(obstacle) => format!("{} ({obstacle})", string(&one["method"])),
            None => string(&one["method"]).to_owned(),
        };
        rows.push(vec![
            format!("{} {}", string(&one["address"]), number(&one["port"])),
            string(&one["state"]).to_owned(),
            method,
            duration(number(&one["seconds"])),
            number(&one["syns_per_second"]).to_string(),
            format!("{} %", number(&one["completed_percent"])),
            counted("syn").to_string(),
            counted("passed").to_string(),
            counted("cookies").to_string(),
            dropped.to_string(),
        ]);
    }
    text.push('\n');
    text.push_str(&align(&rows, 3));
    text.push('\n');
    text
}

/// `sensor stats`.
pub(super) fn stats(value: &Value) -> String {
    let mut rows = vec![row(&["COUNTER", "VALUE"])];
    for (group, counters) in value["stats"].as_object().into_iter().flatten() {
        for (name, count) in counters.as_object().into_iter().flatten() {
            rows.push(vec![format!("{group}.{name}"), number(count).to_string()]);
        }
    }
    align(&rows, 1)
}

/// `sensor flows`.
pub(super) fn flows(value: &Value) -> String {
    let mut rows = vec![row(&[
        "PROTO",
        "SOURCE",
        "DESTINATION",
        "APP",
        "STATE",
        "PACKETS",
        "BYTES",
        "AGE",
    ])];
    let flows = array(&value["flows"]);
    for event in flows {
        let flow = &event["flow"];
        rows.push(vec![
            string(&event["proto"]).to_owned(),
            end(event, "src_ip", "src_port"),
            end(event, "dest_ip", "dest_port"),
            string(&event["app_proto"]).to_owned(),
            string(&flow["state"]).to_owned(),
            (number(&flow["pkts_toserver"]) + number(&flow["pkts_toclient"])).to_string(),
            (number(&flow["bytes_toserver"]) + number(&flow["bytes_toclient"])).to_string(),
            duration(number(&flow["age"])),
        ]);
    }
    let mut text = align(&rows, 5);
    let _ = writeln!(
        text,
        "\n{} of {} live flows",
        flows.len(),
        number(&value["matched"])
    );
    text
}

/// `sensor block list`, `sensor allow list`.
pub(super) fn list(value: &Value) -> String {
    let mut rows = vec![row(&[
        "TARGET", "SOURCE", "REASON", "ENDS IN", "PACKETS", "BYTES", "LAST HIT",
    ])];
    let entries = array(&value["entries"]);
    for entry in entries {
        let time = |key: &str| match entry[key].as_u64() {
            Some(seconds) => duration(seconds),
            None => "-".to_owned(),
        };
        let dry = if entry["dry_run"] == true {
            " (dry run)"
        } else {
            ""
        };
        let reason = match string(&entry["reason"]) {
            "" => "-",
            reason => reason,
        };
        rows.push(vec![
            format!("{}{dry}", string(&entry["target"])),
            string(&entry["source"]).to_owned(),
            plain(reason),
            time("seconds_left"),
            number(&entry["packets"]).to_string(),
            number(&entry["bytes"]).to_string(),
            time("last_hit_seconds_ago"),
        ]);
    }
    let mut text = align(&rows, 3);
    let total = number(&value["total"]);
    let _ = writeln!(text, "\n{} of {total} entries", entries.len());
    text
}

/// Text of others, on one line and without what steers a terminal.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn end(event: &Value, ip: &str, port: &str) -> String {
    match event[port].as_u64() {
        Some(port) => format!("{} {port}", string(&event[ip])),
        None => string(&event[ip]).to_owned(),
    }
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// Columns from `numbers` on are aligned to the right.
fn align(rows: &[Vec<String>], numbers: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column < numbers {
                write!(line, "{cell:<width$}  ")
            } else {
                write!(line, "{cell:>width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `1h 2m`, `3m 4s`, `5s`.
fn duration(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (hours, minutes) => format!("{hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn guarded_destinations_are_told() {
        let idle = guard(&json!({ "mode": "monitor", "destinations": [], "refused": 0 }));
        assert_eq!(idle, "SYN-flood guard   monitor\n");
        let half = guard(&json!({
            "mode": "mitigate",
            "cookies": { "ipv4": { "remedy": null }, "ipv6": { "remedy": "no ::1" } },
        }));
        assert_eq!(
            half,
            "SYN-flood guard   mitigate; no cookies over IPv6: no ::1\n"
        );
        let text = guard(&json!({
            "mode": "mitigate",
            "cookies": { "ipv4": { "remedy": "set it to 1" }, "ipv6": { "remedy": "set it to 1" } },
            "refused": 2,
            "destinations": [{
                "address": "192.0.2.1", "port": 80, "state": "mitigating",
                "method": "retransmission", "obstacle": "syncookies_off", "seconds": 61,
                "syns_per_second": 150_000, "completed_percent": 1,
                "counted_total": { "syn": 1000, "passed": 10, "first_dropped": 980,
                                   "source_limited": 10, "out_of_state": 5 },
            }],
        }));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "SYN-flood guard   mitigate; no cookies: set it to 1; 2 destinations found no room",
                "",
                "DESTINATION   STATE       METHOD                           SINCE   SYN/S  \
                 COMPLETED  SYNS  PASSED  COOKIES  DROPPED",
                "192.0.2.1 80  mitigating  retransmission (syncookies_off)  1m 1s  150000        \
                 1 %  1000      10        0      995",
                "",
            ]
        );
    }

    #[test]
    fn a_list_shows_what_ends_and_what_never_was_hit() {
        let text = list(&json!({
            "total": 9,
            "entries": [
                { "target": "192.0.2.0/24", "source": "command", "reason": "a\nb", "dry_run": true,
                  "seconds_left": 90, "packets": 3, "bytes": 180, "last_hit_seconds_ago": 5 },
                { "target": "tcp/22", "source": "config", "reason": "", "dry_run": false,
                  "seconds_left": null, "packets": 0, "bytes": 0, "last_hit_seconds_ago": null },
            ],
        }));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[1],
            "192.0.2.0/24 (dry run)  command  a b      1m 30s        3    180        5s"
        );
        assert_eq!(
            lines[2],
            "tcp/22                  config   -             -        0      0         -"
        );
        assert_eq!(lines[4], "2 of 9 entries");
    }

    #[test]
    fn flows_are_aligned_and_missing_fields_are_dashes() {
        let text = flows(&json!({
            "matched": 3,
            "flows": [
                { "proto": "TCP", "src_ip": "192.0.2.1", "src_port": 1024, "dest_ip": "192.0.2.2",
                  "dest_port": 80, "app_proto": "http",
                  "flow": { "state": "established", "pkts_toserver": 1, "pkts_toclient": 2,
                            "bytes_toserver": 100, "bytes_toclient": 2000, "age": 61 } },
                { "proto": "ICMP", "src_ip": "192.0.2.1", "dest_ip": "192.0.2.2", "flow": {} },
            ],
        }));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[1],
            "TCP    192.0.2.1 1024  192.0.2.2 80  http  established        3   2100  1m 1s"
        );
        assert_eq!(
            lines[2],
            "ICMP   192.0.2.1       192.0.2.2     -     -                  0      0     0s"
        );
        assert_eq!(lines[4], "2 of 3 live flows");
    }
}
