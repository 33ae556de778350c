//! EVE `stats` events, and the one line for systemd and the log.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    core::{
        event::{Body, Event, Stats},
        time::Timestamp,
    },
    metrics::{Flowed, Snapshot},
};

/// The sensor's counters as an event.
pub(super) fn event(snapshot: &Snapshot, now: Timestamp, uptime: Duration) -> Event {
    let stats = Box::new(Stats {
        uptime: uptime.as_secs(),
        groups: groups(snapshot),
    });
    Event::new(now, Body::Stats { stats })
}

/// `group.counter` under Suricata's names where it has one.
pub(super) fn groups(snapshot: &Snapshot) -> BTreeMap<&'static str, BTreeMap<&'static str, u64>> {
    let totals = Sums::of(snapshot);
    let engine = &snapshot.engine;
    BTreeMap::from([
        (
            "capture",
            BTreeMap::from([
                ("kernel_packets", totals.packets),
                ("kernel_bytes", totals.bytes),
                ("kernel_unparsed", totals.unparsed),
                ("kernel_overflow", totals.overflow),
                ("sampled", totals.sampled),
                ("samples_lost", totals.lost),
                ("samples_late", snapshot.samples.late),
                ("accounting_error", totals.errors),
            ]),
        ),
        (
            "decoder",
            BTreeMap::from([
                ("pkts", engine.decoder.packets),
                ("bytes", engine.decoder.bytes),
                ("invalid", engine.decoder.invalid),
                ("ipv4", engine.decoder.ipv4),
                ("ipv6", engine.decoder.ipv6),
                ("tcp", engine.decoder.tcp),
                ("udp", engine.decoder.udp),
                ("sctp", engine.decoder.sctp),
                ("icmpv4", engine.decoder.icmpv4),
                ("icmpv6", engine.decoder.icmpv6),
                ("vlan", engine.decoder.vlan),
                ("vlan_qinq", engine.decoder.vlan_qinq),
                ("gre", engine.decoder.tunnelled_by("gre")),
                ("erspan", engine.decoder.tunnelled_by("erspan")),
                ("vxlan", engine.decoder.tunnelled_by("vxlan")),
                ("geneve", engine.decoder.tunnelled_by("geneve")),
                ("gtp", engine.decoder.tunnelled_by("gtpv1")),
                ("teredo", engine.decoder.tunnelled_by("teredo")),
            ]),
        ),
        (
            "flow",
            BTreeMap::from([
                ("tcp", engine.flow.tcp),
                ("udp", engine.flow.udp),
                ("icmpv4", engine.flow.icmpv4),
                ("icmpv6", engine.flow.icmpv6),
                ("active", engine.flow.active),
                ("evicted", engine.flow.evicted),
                ("tcp_reuse", engine.flow.tcp_reuse),
            ]),
        ),
        (
            "tcp",
            BTreeMap::from([
                ("midstream_pickups", engine.stream.midstream),
                ("reassembly_gap", engine.stream.gaps),
                ("segment_memcap_drop", engine.stream.dropped_memcap),
                ("reassembly_memuse", engine.stream.held_bytes),
                ("syn", engine.stream.syn),
                ("synack", engine.stream.syn_ack),
                ("rst", engine.stream.rst),
                ("invalid_checksum", engine.decoder.checksums.tcp),
            ]),
        ),
        (
            "output",
            BTreeMap::from([
                (
                    "events",
                    snapshot.outputs.values().map(|output| output.events).sum(),
                ),
                (
                    "dropped",
                    snapshot
                        .outputs
                        .values()
                        .map(|output| output.dropped_queue_full + output.dropped_write_error)
                        .sum(),
                ),
            ]),
        ),
    ])
}

/// `2 interfaces, 1234 packets, ...`.
pub(super) fn line(snapshot: &Snapshot, attached: usize) -> String {
    let totals = Sums::of(snapshot);
    format!(
        "{attached} interfaces attached, {} packets counted, {} sampled, {} flows alive, \
         accounting error {}",
        totals.packets, totals.sampled, snapshot.engine.flow.active, totals.errors
    )
}

/// Sums over devices and directions.
#[derive(Debug, Default)]
struct Sums {
    packets: u64,
    bytes: u64,
    unparsed: u64,
    overflow: u64,
    sampled: u64,
    lost: u64,
    errors: u64,
}

impl Sums {
    fn of(snapshot: &Snapshot) -> Self {
        let mut sums = Self::default();
        for device in snapshot.devices.values() {
            sums.errors += device.error_packets;
            for Flowed { totals, .. } in [&device.ingress, &device.egress] {
                sums.packets += totals.runs;
                sums.bytes += totals.bytes;
                sums.unparsed += totals.unparsed.iter().sum::<u64>();
                sums.overflow += totals.overflow.iter().sum::<u64>();
                sums.sampled += totals.sampled;
                sums.lost += totals.sample_lost.iter().sum::<u64>();
            }
        }
        sums
    }
}
