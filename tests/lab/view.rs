//! What the sensor says, once a second: a compact picture on a terminal, plain lines otherwise.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use sensor_tests::sum_samples;
use serde_json::Value;

/// Lines of the newest events and alerts that the picture shows.
const NEWEST: usize = 6;

pub(crate) struct View {
    picture: bool,
    events: BTreeMap<String, u64>,
    newest: Vec<String>,
    alerts: Vec<String>,
    before: Option<(f64, f64)>,
}

impl View {
    pub(crate) fn new() -> Self {
        Self {
            picture: std::io::stdout().is_terminal(),
            events: BTreeMap::new(),
            newest: Vec::new(),
            alerts: Vec::new(),
            before: None,
        }
    }

    /// Takes in new events.
    pub(crate) fn events(&mut self, events: Vec<Value>) {
        for event in events {
            let Some(kind) = event["event_type"].as_str() else {
                continue;
            };
            *self.events.entry(kind.to_owned()).or_default() += 1;
            match kind {
                "alert" => push(&mut self.alerts, describe(&event)),
                // The response repeats the query.
                "dns" if event["dns"]["type"] == "request" => {}
                "dns" | "http" | "tls" => push(&mut self.newest, describe(&event)),
                _ => {}
            }
        }
    }

    /// Shows the state of the last second.
    pub(crate) fn show(&mut self, metrics: &str, elapsed: Duration) -> Result<()> {
        let sum = |name: &str, labels: &[&str]| sum_samples(metrics, name, labels).unwrap_or(0.0);
        let ingress = sum("sensor_packets_total", &["direction=\"ingress\""]);
        let egress = sum("sensor_packets_total", &["direction=\"egress\""]);
        let (ingress_before, egress_before) =
            self.before.replace((ingress, egress)).unwrap_or_default();
        let seconds = elapsed.as_secs();
        let mut text = String::new();
        if self.picture {
            // Home, and erase to the end.
            text.push_str("\x1b[H\x1b[J");
            writeln!(
                text,
                "sensor in the lab, {:02}:{:02}\n",
                seconds / 60,
                seconds % 60
            )?;
        } else {
            write!(text, "{seconds:4} s  ")?;
        }
        let end = if self.picture { "\n" } else { "  " };
        write!(
            text,
            "packets   in {ingress:.0} ({:.0}/s)  out {egress:.0} ({:.0}/s){end}",
            ingress - ingress_before,
            egress - egress_before
        )?;
        write!(
            text,
            "flows     {:.0} of {:.0} in the table, {:.0} packets over{end}",
            sum("sensor_flow_table_entries", &[]),
            sum("sensor_flow_table_capacity", &[]),
            sum("sensor_flow_table_overflow_packets_total", &[])
        )?;
        write!(
            text,
            "samples   {:.0} taken, {:.0} lost{end}",
            sum("sensor_sampled_packets_total", &[]),
            sum("sensor_sample_lost_packets_total", &[])
        )?;
        let error = sum_samples(metrics, "sensor_accounting_error_packets", &[]);
        let error = error.map_or_else(
            || "unknown".to_owned(),
            |error| format!("{error:.0} packets"),
        );
        write!(text, "accounting error {error}{end}")?;
        writeln!(text, "events    {}", self.counts())?;
        if self.picture {
            text.push('\n');
            for line in self.alerts.iter().chain(&self.newest) {
                writeln!(text, "  {line}")?;
            }
        } else {
            for alert in self.alerts.drain(..) {
                writeln!(text, "        {alert}")?;
            }
        }
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// Shows what there was in all.
    pub(crate) fn summary(&self) {
        println!("events in all: {}", self.counts());
    }

    fn counts(&self) -> String {
        let counts: Vec<_> = self
            .events
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        if counts.is_empty() {
            "none yet".to_owned()
        } else {
            counts.join("  ")
        }
    }
}

fn push(lines: &mut Vec<String>, line: String) {
    if lines.len() == NEWEST {
        lines.remove(0);
    }
    lines.push(line);
}

/// One line for a person. All text is JSON-encoded: it comes from packets, and a terminal obeys
/// control characters.
fn describe(event: &Value) -> String {
    let get = |pointer: &str| {
        event
            .pointer(pointer)
            .map(Value::to_string)
            .unwrap_or_default()
    };
    let kind = event["event_type"].as_str().unwrap_or_default();
    let what = match kind {
        "alert" => format!("{} {}", get("/alert/signature"), get("/alert/category")),
        "dns" => {
            let kind = event
                .pointer("/dns/type")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let name = event.pointer("/dns/queries/0/rrname").map(Value::to_string);
            format!("{kind} {} {}", name.unwrap_or_default(), get("/dns/rcode"))
        }
        "http" => format!(
            "{} {} {} {}",
            get("/http/http_method"),
            get("/http/hostname"),
            get("/http/url"),
            get("/http/status")
        ),
        "tls" => format!("{} {}", get("/tls/sni"), get("/tls/version")),
        _ => String::new(),
    };
    format!(
        "{kind:6} {} > {} {}",
        endpoint(event, "src_ip", "src_port"),
        endpoint(event, "dest_ip", "dest_port"),
        what.replace('"', "")
    )
}

/// Address and port as far as the event names them: a flood's sources are invented, so its alert
/// names its destination alone.
fn endpoint(event: &Value, address: &str, port: &str) -> String {
    // Parsed, because events carry every group of an IPv6 address.
    let Some(address) = event[address].as_str().and_then(|text| text.parse().ok()) else {
        return "any".to_owned();
    };
    let port = event[port]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok());
    port.map_or_else(
        || IpAddr::to_string(&address),
        |port| SocketAddr::new(address, port).to_string(),
    )
}
