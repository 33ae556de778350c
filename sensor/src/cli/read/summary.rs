use std::{
    collections::BTreeMap,
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

use super::{Reading, tally::Tally};
use crate::{
    core::event::{Body, DnsKind, EveTime, Event, Flow},
    source::capture::linktype,
};

/// Flows that are listed.
const TOP: usize = 10;

/// What a person wants to know of a capture, gathered from events.
#[derive(Debug, Default)]
pub(super) struct Summary {
    protocols: BTreeMap<(String, &'static str), Volume>,
    /// Flows that are in no others.
    flows: Volume,
    tunnelled: u64,
    /// Largest first.
    top: Vec<TopFlow>,
    dns: Tally,
    http: Tally,
    tls: Tally,
    anomalies: Tally,
}

#[derive(Clone, Copy, Debug, Default)]
struct Volume {
    flows: u64,
    packets: u64,
    bytes: u64,
}

impl Volume {
    fn add(&mut self, flow: &Flow) {
        self.flows += 1;
        self.packets += flow.pkts_toserver + flow.pkts_toclient;
        self.bytes += flow.bytes_toserver + flow.bytes_toclient;
    }
}

#[derive(Debug)]
struct TopFlow {
    bytes: u64,
    packets: u64,
    text: String,
}

impl Summary {
    pub(super) fn add(&mut self, event: &Event) {
        match &event.body {
            Body::Flow { flow, .. } => self.add_flow(event, flow),
            Body::Dns { dns } if dns.kind == DnsKind::Request => {
                for query in &dns.queries {
                    let name: &[u8] = &query.rrname.0;
                    self.dns.add(if name.is_empty() { b"." } else { name });
                }
            }
            Body::Http { http } => {
                if let Some(host) = &http.hostname {
                    self.http.add(&host.0);
                }
            }
            Body::Tls { tls } => {
                if let Some(name) = &tls.sni {
                    self.tls.add(&name.0);
                }
            }
            Body::Anomaly { anomaly } => {
                let owner = anomaly.app_proto.unwrap_or("packet");
                self.anomalies
                    .add(format!("{owner} {}", anomaly.event).as_bytes());
            }
            Body::Dns { .. } | Body::Alert { .. } | Body::Stats { .. } => {}
        }
    }

    fn add_flow(&mut self, event: &Event, flow: &Flow) {
        let protocol = protocol(event);
        let application = event.app_proto.unwrap_or("");
        self.protocols
            .entry((protocol.clone(), application))
            .or_default()
            .add(flow);
        // What is within others is in their packets and bytes already.
        if event.tunnel.is_none() {
            self.flows.add(flow);
        } else {
            self.tunnelled += 1;
        }
        let bytes = flow.bytes_toserver + flow.bytes_toclient;
        let place = self.top.partition_point(|other| other.bytes >= bytes);
        if place < TOP {
            let (source, destination) = (
                end(event.src_ip, event.src_port),
                end(event.dest_ip, event.dest_port),
            );
            let packets = flow.pkts_toserver + flow.pkts_toclient;
            let text = format!("{source} -> {destination} {protocol} {application}");
            self.top.insert(
                place,
                TopFlow {
                    bytes,
                    packets,
                    text,
                },
            );
            self.top.truncate(TOP);
        }
    }

    /// The whole report; the same for the same capture.
    pub(super) fn render(&self, reading: &Reading) -> String {
        let mut out = String::new();
        head(reading, &mut out);
        self.render_flows(&mut out);
        self.dns.render("DNS names asked for", &mut out);
        self.http.render("HTTP hosts", &mut out);
        self.tls.render("TLS server names", &mut out);
        self.anomalies.render("Anomalies", &mut out);
        skipped(reading, &mut out);
        out
    }

    fn render_flows(&self, out: &mut String) {
        if self.flows.flows == 0 {
            return;
        }
        let _ = writeln!(
            out,
            "\n{:<24} {:>9} {:>11} {:>15}",
            "Protocols", "flows", "packets", "bytes"
        );
        let line = |name: &str, volume: &Volume, out: &mut String| {
            let Volume {
                flows,
                packets,
                bytes,
            } = volume;
            let _ = writeln!(out, "  {name:<22} {flows:>9} {packets:>11} {bytes:>15}");
        };
        for ((protocol, application), volume) in &self.protocols {
            line(&format!("{protocol} {application}"), volume, out);
        }
        line("all", &self.flows, out);
        if self.tunnelled > 0 {
            let _ = writeln!(out, "  {} more are within these", self.tunnelled);
        }
        let _ = writeln!(out, "\n{:<11} {:>13}  Largest flows", "packets", "bytes");
        for flow in &self.top {
            let _ = writeln!(
                out,
                "{:<11} {:>13}  {}",
                flow.packets,
                flow.bytes,
                flow.text.trim_end()
            );
        }
    }
}

fn head(reading: &Reading, out: &mut String) {
    let (packets, bytes) = (reading.capture.packets, reading.capture.bytes);
    let _ = writeln!(out, "Packets   {packets}\nBytes     {bytes}");
    if let Some((first, last)) = reading.span {
        let seconds = last.since(first) as f64 / 1e9;
        let _ = writeln!(out, "Duration  {seconds:.6} s");
        let _ = writeln!(
            out,
            "From      {}\nTo        {}",
            time(EveTime(first)),
            time(EveTime(last))
        );
    }
}

/// What was not looked at, and why.
fn skipped(reading: &Reading, out: &mut String) {
    let (capture, engine) = (&reading.capture, &reading.engine);
    let mut lines = Vec::new();
    for (link, packets) in &capture.unsupported {
        lines.push((
            *packets,
            format!("packets of link type {link} ({})", linktype::name(*link)),
        ));
    }
    lines.extend([
        (
            capture.untimed,
            "packets without a time, taken to be at that of the one before".into(),
        ),
        (engine.decoder.non_ip, "frames that are not IP".into()),
        (
            engine.decoder.tunnelled_non_ip,
            "packets of tunnels that carry something else than IP".into(),
        ),
        (
            engine.decoder.malformed_tunnels,
            "packets of tunnels that are broken, or nested too deeply".into(),
        ),
        (
            engine.decoder.invalid,
            "frames that are broken below the ports".into(),
        ),
        (
            engine.decoder.cut,
            "frames that were captured in part".into(),
        ),
        (
            engine.defrag.timeouts,
            "fragmented datagrams that were never complete".into(),
        ),
        (
            engine.defrag.dropped,
            "fragments or datagrams given up for want of room".into(),
        ),
        (
            engine.flow.evicted,
            "flows ended early for want of room".into(),
        ),
        (engine.stream.gaps, "holes in TCP streams".into()),
        (engine.decoder.checksums.wrong(), "wrong checksums".into()),
        (
            engine.stream.dropped_stream + engine.stream.dropped_memcap,
            "TCP segments given up for want of room".into(),
        ),
    ]);
    lines.retain(|(count, _)| *count > 0);
    if lines.is_empty() {
        return;
    }
    out.push_str("\nSkipped or incomplete\n");
    for (count, what) in lines {
        let _ = writeln!(out, "  {count:>9}  {what}");
    }
}

fn protocol(event: &Event) -> String {
    let name = match event.proto {
        Some(proto) => proto
            .name()
            .map_or_else(|| format!("IP protocol {}", proto.0), str::to_owned),
        None => "unknown".to_owned(),
    };
    let extra = event.extra.as_ref();
    match extra.and_then(|extra| extra.tunnel.as_ref()) {
        Some(tunnel) => format!("{name} in {}", tunnel.kind),
        None => name,
    }
}

fn end(address: Option<crate::core::event::Address>, port: Option<u16>) -> String {
    match (address.map(|address| address.0), port) {
        (Some(address), Some(port)) => SocketAddr::new(address, port).to_string(),
        (Some(IpAddr::V6(address)), None) => format!("[{address}]"),
        (Some(address), None) => address.to_string(),
        (None, _) => "?".to_owned(),
    }
}

/// EVE's spelling of a time.
fn time(time: EveTime) -> String {
    match serde_json::to_value(time) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}
