//! What the live loop answers.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use serde_json::{Value, json};

use super::{FlowQuery, FlowSort, MAX_FLOWS, guard};
use crate::{
    bpf::Attachment,
    config::Config,
    core::{
        engine::Engine,
        event::{Body, Event, Flow},
    },
    daemon::{live::guard::Guard, stats},
    metrics::{Device, Snapshot},
    source::live::Clock,
};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) enum Question<'a> {
    Status,
    Stats,
    Flows(&'a FlowQuery),
}

/// What an answer is made of.
pub(in crate::daemon) struct View<'a> {
    pub(in crate::daemon) snapshot: &'a Snapshot,
    pub(in crate::daemon) engine: &'a Engine,
    pub(in crate::daemon) guard: &'a Guard,
    pub(in crate::daemon) clock: &'a Clock,
    pub(in crate::daemon) config: &'a Config,
    pub(in crate::daemon) attachments: Vec<&'a Attachment>,
    pub(in crate::daemon) uptime: Duration,
}

/// Answers a question that needs no more than a view.
pub(in crate::daemon) fn answer(question: Question<'_>, view: &View<'_>) -> Value {
    match question {
        Question::Status => status(view),
        Question::Stats => json!({
            "uptime_seconds": view.uptime.as_secs(),
            "stats": stats::groups(view.snapshot),
        }),
        Question::Flows(query) => flows(query, view.engine),
    }
}

fn status(view: &View<'_>) -> Value {
    let snapshot = view.snapshot;
    let devices: Vec<_> = snapshot
        .devices
        .iter()
        .map(|(name, device)| device_status(name, device, view))
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_seconds": view.uptime.as_secs(),
        "interfaces": devices,
        "sampling": view.config.sampling,
        "flow_table": {
            "capacity": snapshot.flow_capacity,
            "entries": snapshot.devices.values().map(|device| device.entries).sum::<u32>(),
            "interval_ms": view.config.flows.interval_ms,
        },
        "generations": snapshot.generations,
        "generation_errors": snapshot.generation_errors,
        "accounting_error_packets":
            snapshot.devices.values().map(|device| device.error_packets).sum::<u64>(),
        "guard": guard::status(view.guard, view.clock),
        "flows_alive": view.engine.stats().flow.active,
        "outputs": snapshot.outputs.iter().map(|(name, output)| json!({
            "name": name,
            "events": output.events,
            "dropped_queue_full": output.dropped_queue_full,
            "dropped_write_error": output.dropped_write_error,
        })).collect::<Vec<_>>(),
        "lists": { "allow": snapshot.lists.allow, "block": snapshot.lists.block },
        "pass_all": snapshot.pass_all,
        "last_reload_failed": snapshot.reload.failed,
        "pinned": snapshot.pinned.then(|| json!({
            "path": view.config.pin.path,
            "taken_over": snapshot.takeover.map(|taken| json!({
                "unattended_seconds": taken.unattended.as_secs_f64(),
                "untold_packets": taken.untold_packets,
                "lost_packets": taken.lost_packets,
                "replaced": taken.replaced,
            })),
        })),
    })
}

fn device_status(name: &str, device: &Device, view: &View<'_>) -> Value {
    let attachment = view
        .attachments
        .iter()
        .find(|attachment| attachment.device == name);
    json!({
        "name": name,
        "attached": device.mode.is_some(),
        "mode": device.mode.map(crate::bpf::XdpMode::as_str),
        "egress": attachment.map(|attachment| attachment.egress.as_str()),
        "tap": device.tap,
        "packets_received": device.ingress.totals.runs,
        "bytes_received": device.ingress.totals.bytes,
        "packets_sent": device.egress.totals.runs,
        "bytes_sent": device.egress.totals.bytes,
        "packets_dropped": device.ingress.totals.dropped,
        "accounting_error_packets": device.error_packets,
    })
}

/// The largest flows that match, as EVE `flow` records of flows that have not ended.
fn flows(query: &FlowQuery, engine: &Engine) -> Value {
    let limit = query.limit.min(MAX_FLOWS);
    let mut matched = 0_u64;
    // The smallest of the largest is on top, to be replaced.
    let mut largest: BinaryHeap<Reverse<Ranked>> = BinaryHeap::new();
    engine.live_flows(&mut |event| {
        let Some(rank) = rank(&event, query) else {
            return;
        };
        matched += 1;
        if largest.len() < limit {
            largest.push(Reverse(Ranked { rank, event }));
        } else if largest
            .peek()
            .is_some_and(|Reverse(smallest)| smallest.rank < rank)
        {
            largest.pop();
            largest.push(Reverse(Ranked { rank, event }));
        }
    });
    let sorted = largest.into_sorted_vec();
    let flows: Vec<_> = sorted.iter().map(|Reverse(ranked)| &ranked.event).collect();
    json!({ "matched": matched, "flows": flows })
}

/// What the flow is sorted by, if the query wants it.
fn rank(event: &Event, query: &FlowQuery) -> Option<u64> {
    let Body::Flow { flow, .. } = &event.body else {
        return None;
    };
    let ends = [
        (event.src_ip, event.src_port),
        (event.dest_ip, event.dest_port),
    ];
    let is_wanted = query.address.is_none_or(|wanted| {
        ends.iter()
            .any(|(ip, _)| ip.is_some_and(|ip| ip.0 == wanted))
    }) && query
        .port
        .is_none_or(|wanted| ends.iter().any(|(_, port)| *port == Some(wanted)))
        && query.proto.as_ref().is_none_or(|wanted| {
            event.proto.is_some_and(|proto| {
                proto
                    .name()
                    .is_some_and(|name| name.eq_ignore_ascii_case(wanted))
                    || proto.0.to_string() == *wanted
            })
        })
        && query
            .app_proto
            .as_ref()
            .is_none_or(|wanted| event.app_proto == Some(wanted.as_str()));
    is_wanted.then(|| sum(flow, query.sort))
}

fn sum(flow: &Flow, sort: FlowSort) -> u64 {
    match sort {
        FlowSort::Bytes => flow.bytes_toserver.saturating_add(flow.bytes_toclient),
        FlowSort::Packets => flow.pkts_toserver.saturating_add(flow.pkts_toclient),
        FlowSort::Age => flow.end.0.since(flow.start.0),
    }
}

struct Ranked {
    rank: u64,
    event: Event,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}
