//! From frames to the packets in them: fragments are put together, tunnels followed, checksums
//! verified. Nothing here knows of flows, so that what is found can be shared out by flow.

use bytes::Bytes;
use sensor_ebpf::parse;

use super::EngineConfig;
use super::checksums::{Checksums, VERIFIED_ONE_IN};
use super::found::{Found, Meta, Part};
use crate::core::decode::{self, Checksum, Packet, Stop, TunnelKind};
use crate::core::defrag::{Defrag, Fragment, Orphan, Whole};
use crate::core::flow::tunnel::Tunnel;
use crate::core::frame::Frame;
use crate::core::limits::Limits;
use crate::core::stats::{DecoderStats, DefragStats};
use crate::core::time::Timestamp;

/// A packet, and what is around it.
struct Layer {
    packet: Packet,
    data: Bytes,
    /// What it came in, the latest last, where evidence is kept.
    frames: Vec<Frame>,
    meta: Meta,
    tunnel: Option<Tunnel>,
}

/// What is within a packet, if it is a tunnel's.
#[derive(Default)]
struct Within {
    inner: Option<Layer>,
    is_tunnel: bool,
    /// The event's name where the rules are broken.
    flaw: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Front {
    defrag: Defrag,
    limits: Limits,
    strict_checksums: bool,
    pub(super) decoder: DecoderStats,
    pub(super) fragments: DefragStats,
}

impl Front {
    pub(super) fn new(config: &EngineConfig) -> Self {
        Self {
            defrag: Defrag::new(config.seed),
            limits: config.limits,
            strict_checksums: config.strict_checksums,
            decoder: DecoderStats::default(),
            fragments: DefragStats::default(),
        }
    }

    /// Finds what a frame is made of, from the outside in.
    #[inline]
    pub(super) fn frame(&mut self, frame: &Frame, found: &mut impl FnMut(Found<'_>)) {
        let stats = &mut self.decoder;
        stats.packets += 1;
        stats.bytes += u64::from(frame.wire_len);
        stats.cut += u64::from(is_cut(frame));
        let mut meta = Meta::of(frame);
        match decode::packet(frame) {
            Ok(packet) => {
                if meta.sample.is_some() && !packet.in_kernel {
                    meta.count_here(None);
                }
                note_packet(stats, &packet);
                if packet.headers.fragment.is_none() && !decode::may_be_tunnel(&packet) {
                    let all = self.verifies_all();
                    let checksums = Checksums::of(&packet, &frame.data, &meta, all);
                    let wrong_checksum =
                        checksums.judge(packet.key.protocol, &mut self.decoder.checksums);
                    return found(Found::Packet(Part {
                        packet: &packet,
                        data: &frame.data,
                        frames: std::slice::from_ref(frame),
                        meta,
                        tunnel: None,
                        is_tunnel: false,
                        flaw: None,
                        wrong_checksum,
                    }));
                }
                let layer = Layer {
                    packet,
                    data: frame.data.clone(),
                    frames: if self.limits.evidence_bytes > 0 {
                        vec![frame.clone()]
                    } else {
                        Vec::new()
                    },
                    meta,
                    tunnel: None,
                };
                self.layers(layer, frame, found);
            }
            Err(stop) => {
                if stop == Stop::NonIp {
                    stats.non_ip += 1;
                } else {
                    stats.invalid += 1;
                }
                if let Some(name) = decode::anomaly(frame, stop) {
                    found(Found::Anomaly {
                        meta,
                        name,
                        of: None,
                    });
                }
            }
        }
    }

    /// Goes through a packet that is a fragment, or has others in it.
    fn layers(&mut self, mut layer: Layer, frame: &Frame, found: &mut impl FnMut(Found<'_>)) {
        let origin = decode::origin(&frame.origin);
        let all = self.verifies_all();
        let mut checksums = layer.checksums(all);
        loop {
            if layer.packet.headers.fragment.is_some() {
                let protocol = layer.packet.key.protocol;
                let wrong_checksum = checksums.judge(protocol, &mut self.decoder.checksums);
                match self.reassemble(layer, wrong_checksum, origin, found) {
                    Some(whole) => layer = whole,
                    None => return,
                }
                checksums = layer.checksums(all);
                // The header is not the sender's any more.
                checksums.network = Checksum::Unknown;
            }
            let Within {
                mut inner,
                is_tunnel,
                flaw,
            } = self.within(&layer, origin, is_cut(frame));
            let inner_checksums = inner
                .as_ref()
                .map_or(Checksums::UNKNOWN, |inner| inner.checksums(all));
            if checksums.transport == Checksum::Wrong
                && inner_checksums.transport == Checksum::Offloaded
            {
                // It was computed as if the device had filled in the inner one already: Linux'
                // local checksum offload.
                checksums.transport = Checksum::Offloaded;
            }
            let protocol = layer.packet.key.protocol;
            let wrong_checksum = checksums.judge(protocol, &mut self.decoder.checksums);
            found(Found::Packet(Part {
                packet: &layer.packet,
                data: &layer.data,
                frames: &layer.frames,
                meta: layer.meta,
                tunnel: layer.tunnel.as_ref(),
                is_tunnel,
                flaw,
                wrong_checksum,
            }));
            if self.strict_checksums && wrong_checksum.is_some() {
                // What its receiver drops has nothing within.
                return;
            }
            if let Some(inner) = &mut inner {
                inner.frames = layer.frames;
            }
            match inner {
                Some(inner) => (layer, checksums) = (inner, inner_checksums),
                None => return,
            }
        }
    }

    /// What is within a packet.
    fn within(&mut self, outer: &Layer, origin: parse::Origin, cut: bool) -> Within {
        let stats = &mut self.decoder;
        let mut within = Within::default();
        let inner = match decode::inner(&outer.packet, &outer.data, origin) {
            Ok(None) => return within,
            Ok(Some(inner)) => inner,
            Err(Stop::NonIp) => {
                stats.tunnelled_non_ip += 1;
                within.is_tunnel = true;
                return within;
            }
            // Nobody is to blame where the capture left bytes out.
            Err(Stop::Short(_)) if cut => {
                stats.cut_tunnels += 1;
                within.is_tunnel = true;
                return within;
            }
            Err(stop) => {
                stats.malformed_tunnels += 1;
                within.flaw = stop.name();
                return within;
            }
        };
        within.is_tunnel = true;
        let depth = outer.tunnel.as_ref().map_or(0, Tunnel::depth);
        if depth >= self.limits.tunnel_depth {
            stats.malformed_tunnels += 1;
            within.flaw = Some("decoder.too_many_layers");
            return within;
        }
        stats.tunnelled[inner.kind as usize] += 1;
        note_packet(stats, &inner.packet);
        let captured = outer.packet.headers.end.min(outer.data.len());
        let mut meta = outer.meta;
        meta.wire_len = meta.wire_len_within(inner.at, outer.packet.headers.end);
        if inner.kind == TunnelKind::Erspan && inner.packet.headers.end < usize::from(u16::MAX) {
            // Switches may mirror the start of a frame alone: the rest is cut, not lost.
            let end = u32::try_from(inner.packet.headers.end).unwrap_or(u32::MAX);
            meta.wire_len = meta.wire_len.max(end);
        }
        meta.count_here(Some(&outer.packet.key));
        let around = outer.tunnel.as_ref();
        within.inner = Some(Layer {
            packet: inner.packet,
            data: outer.data.slice(inner.at.min(captured)..captured),
            frames: Vec::new(),
            meta,
            tunnel: Some(Tunnel::new(inner.kind, inner.id, &outer.packet.key, around)),
        });
        within
    }

    /// Takes a fragment; gives the datagram that is whole now.
    fn reassemble(
        &mut self,
        layer: Layer,
        wrong_checksum: Option<&'static str>,
        origin: parse::Origin,
        found: &mut impl FnMut(Found<'_>),
    ) -> Option<Layer> {
        let Layer {
            packet,
            data,
            frames,
            mut meta,
            tunnel,
        } = layer;
        if packet.is_v6() {
            self.fragments.fragments_ipv6 += 1;
        } else {
            self.fragments.fragments_ipv4 += 1;
        }
        let fragment = Fragment {
            packet: &packet,
            data: &data,
            time: meta.time,
            wire_len: (!meta.is_counted_by_kernel()).then_some(meta.wire_len),
            sample: meta.sample,
            wrong_checksum,
            strict_checksums: self.strict_checksums,
            tunnel: tunnel.as_ref(),
            frames: &frames,
        };
        let mut orphans = Vec::new();
        let outcome = self
            .defrag
            .insert(fragment, &self.limits, &mut self.fragments, &mut orphans);
        tell_orphans(&orphans, found);
        if let Some((key, owed)) = outcome.counts {
            found(Found::Count {
                key,
                tunnel: tunnel.as_ref(),
                owed,
            });
        }
        if let Some(name) = outcome.flaw {
            found(Found::Anomaly {
                meta,
                name,
                of: Some((&packet.key, tunnel.as_ref())),
            });
        }
        let Whole {
            data,
            sample,
            frames,
        } = outcome.datagram?;
        let Ok(packet) = decode::reassembled(&data, &packet, origin) else {
            self.fragments.malformed += 1;
            return None;
        };
        meta.wire_len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        meta.counts = (0, 0);
        meta.sample = sample;
        Some(Layer {
            packet,
            data,
            frames,
            meta,
            tunnel,
        })
    }

    /// Gives up fragments that have waited since before `before`.
    pub(super) fn expire(&mut self, before: Timestamp, found: &mut impl FnMut(Found<'_>)) {
        if self.defrag.is_empty() {
            return;
        }
        let mut orphans = Vec::new();
        self.defrag
            .expire(before, &mut self.fragments, &mut orphans);
        tell_orphans(&orphans, found);
    }

    /// Whether the checksums of the current frame are verified however large it is.
    #[inline]
    const fn verifies_all(&self) -> bool {
        self.strict_checksums || self.decoder.packets.is_multiple_of(VERIFIED_ONE_IN)
    }
}

impl Layer {
    fn checksums(&self, all: bool) -> Checksums {
        Checksums::of(&self.packet, &self.data, &self.meta, all)
    }
}

/// Counts fragments whose datagram never told its ports, as the kernel does: for a flow without
/// ports.
fn tell_orphans(orphans: &[Orphan], found: &mut impl FnMut(Found<'_>)) {
    for orphan in orphans {
        found(Found::Count {
            key: orphan.key,
            tunnel: orphan.tunnel.as_deref(),
            owed: orphan.owed,
        });
    }
}

const fn is_cut(frame: &Frame) -> bool {
    frame.data.len() < frame.wire_len as usize
}

fn note_packet(stats: &mut DecoderStats, packet: &Packet) {
    use sensor_ebpf::abi::key_flags::{QINQ, VLAN};
    let flags = packet.key.flags;
    if packet.is_v6() {
        stats.ipv6 += 1;
    } else {
        stats.ipv4 += 1;
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
