//! From a frame to the packets in it: what is no packet, fragments, tunnels.

use bytes::Bytes;
use sensor_ebpf::abi::{Direction, FlowKey};
use sensor_ebpf::parse::Unkeyed;

use super::{Engine, Out};
use crate::core::decode::{self, Packet};
use crate::core::defrag::Orphan;
use crate::core::event::{Anomaly, AnomalyKind, Body, Event};
use crate::core::frame::{Frame, Origin};
use crate::core::stats::Stats;
use crate::core::time::Timestamp;

/// What is known of a packet besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    pub(super) time: Timestamp,
    /// The capture's packet number.
    pub(super) number: Option<u64>,
    pub(super) wire_len: u32,
    pub(super) sample: Option<Sample>,
    /// Samples between this and the last one of its side were left out.
    pub(super) skipped: bool,
    /// Packets and bytes to add to the flow.
    pub(super) counts: (u64, u64),
}

/// A sample's place in its flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) epoch: u64,
    pub(super) number: u64,
    pub(super) segments: u16,
    pub(super) direction: Direction,
}

impl Meta {
    fn of(frame: &Frame) -> Self {
        let (number, sample, packets) = match frame.origin {
            Origin::Capture { number } => (Some(number), None, 1),
            Origin::Sample {
                epoch,
                number,
                segments,
                direction,
                ..
            } => (
                None,
                Some(Sample {
                    epoch,
                    number,
                    segments,
                    direction,
                }),
                0,
            ),
        };
        Self {
            time: frame.time,
            number,
            wire_len: frame.wire_len,
            sample,
            skipped: false,
            counts: (packets, packets * u64::from(frame.wire_len)),
        }
    }
}

/// Counts events on their way out.
#[derive(Debug, Default)]
pub(super) struct Emitted {
    events: u64,
    anomalies: [u64; 3],
}

impl Emitted {
    pub(super) fn pass(&mut self, event: Event, out: &mut Out<'_>) {
        self.events += 1;
        if let Body::Anomaly { anomaly } = &event.body {
            self.anomalies[anomaly.kind as usize] += 1;
        }
        out(event);
    }

    pub(super) const fn note(self, stats: &mut Stats) {
        stats.events += self.events;
        let [decode, stream, applayer] = self.anomalies;
        stats.decoder.anomalies += decode;
        stats.stream.anomalies += stream;
        stats.app.anomalies += applayer;
    }
}

impl Engine {
    pub(super) fn frame(&mut self, frame: &Frame, out: &mut Out<'_>) {
        let stats = &mut self.stats.decoder;
        stats.packets += 1;
        stats.bytes += u64::from(frame.wire_len);
        stats.cut += u64::from(frame.data.len() < frame.wire_len as usize);
        let meta = Meta::of(frame);
        match decode::packet(frame) {
            Err(Unkeyed::NonIp) => stats.non_ip += 1,
            Err(Unkeyed::Unparsed(reason)) => {
                stats.invalid += 1;
                if let Some(name) = decode::anomaly(frame, reason) {
                    anomaly(&meta, name, out);
                }
            }
            Ok(packet) => {
                note_packet(stats, &packet);
                if packet.headers.fragment.is_some() {
                    self.fragment(&packet, frame, &meta, out);
                } else {
                    self.packet(&packet, &frame.data, &meta, out);
                    self.tunnelled(packet, &frame.data, meta, frame, out);
                }
            }
        }
    }

    /// Follows tunnels. Only in captures: the kernel counts tunnels as one flow, and an inner flow
    /// of samples would have no counts.
    fn tunnelled(
        &mut self,
        outer: Packet,
        data: &Bytes,
        mut meta: Meta,
        frame: &Frame,
        out: &mut Out<'_>,
    ) {
        if meta.sample.is_some() {
            return;
        }
        let mut packet = outer;
        for _ in 0..self.config.limits.tunnel_depth {
            let origin = decode::origin(&frame.origin);
            let Some(inner) = decode::inner(&packet, data, origin) else {
                return;
            };
            let stats = &mut self.stats.decoder;
            stats.tunnelled += 1;
            note_packet(stats, &inner);
            // Bytes of an inner packet are those from its IP header on.
            let end = inner.headers.end.min(meta.wire_len as usize);
            meta.counts = (1, end.saturating_sub(inner.headers.ip) as u64);
            if inner.headers.fragment.is_some() {
                // Fragments within tunnels are counted, not put together.
                self.packet(&inner, &Bytes::new(), &meta, out);
                return;
            }
            self.packet(&inner, data, &meta, out);
            packet = inner;
        }
    }

    fn fragment(&mut self, packet: &Packet, frame: &Frame, meta: &Meta, out: &mut Out<'_>) {
        let stats = &mut self.stats.defrag;
        if packet.key.flags & sensor_ebpf::abi::key_flags::IPV6 == 0 {
            stats.fragments_ipv4 += 1;
        } else {
            stats.fragments_ipv6 += 1;
        }
        let mut orphans = Vec::new();
        let outcome = self
            .defrag
            .insert(packet, frame, &self.config.limits, stats, &mut orphans);
        self.count_orphans(orphans, out);
        if let Some((key, owed)) = outcome.counts
            && meta.sample.is_none()
        {
            self.count(&key, owed, out);
        }
        let Some(datagram) = outcome.datagram else {
            return;
        };
        // The datagram is keyed by the same parser as any packet; its link header's VLAN ids and
        // device come from its first fragment's key.
        let origin = decode::origin(&frame.origin);
        let Ok((mut key, headers)) = sensor_ebpf::parse::ip(&datagram, 0, origin, &[]) else {
            self.stats.defrag.malformed += 1;
            return;
        };
        let FlowKey { vlan, .. } = packet.key;
        key.vlan = vlan;
        key.flags |= packet.key.flags
            & (sensor_ebpf::abi::key_flags::VLAN | sensor_ebpf::abi::key_flags::QINQ);
        let whole = Packet { key, headers };
        let wire_len = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
        let meta = Meta {
            wire_len,
            counts: (0, 0),
            ..*meta
        };
        self.packet(&whole, &datagram, &meta, out);
        self.tunnelled(whole, &datagram, meta, frame, out);
    }

    /// Counts fragments whose datagram never told its ports, as the kernel does: for a flow
    /// without ports.
    pub(super) fn count_orphans(&mut self, orphans: Vec<Orphan>, out: &mut Out<'_>) {
        for (key, owed) in orphans {
            if key.ifindex == 0 {
                self.count(&key, owed, out);
            }
        }
    }
}

fn note_packet(stats: &mut crate::core::stats::DecoderStats, packet: &Packet) {
    use sensor_ebpf::abi::key_flags::{IPV6, QINQ, VLAN};
    let flags = packet.key.flags;
    if flags & IPV6 == 0 {
        stats.ipv4 += 1;
    } else {
        stats.ipv6 += 1;
    }
    stats.vlan += u64::from(flags & VLAN != 0);
    stats.vlan_qinq += u64::from(flags & QINQ != 0);
    match packet.key.protocol {
        6 => stats.tcp += 1,
        17 => stats.udp += 1,
        1 => stats.icmpv4 += 1,
        58 => stats.icmpv6 += 1,
        132 => stats.sctp += 1,
        _ => stats.other_ip += 1,
    }
}

/// An anomaly of a frame that has no flow.
fn anomaly(meta: &Meta, name: &'static str, out: &mut Out<'_>) {
    let anomaly = Anomaly {
        app_proto: None,
        kind: AnomalyKind::Decode,
        event: name,
        layer: None,
    };
    let mut event = Event::new(meta.time, Body::Anomaly { anomaly });
    event.pcap_cnt = meta.number;
    out(event);
}
