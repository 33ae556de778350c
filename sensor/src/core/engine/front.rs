//! From frames to the packets in them: fragments are put together, tunnels followed, checksums
//! verified. Nothing here knows of flows, so that what is found can be shared out by flow.

use bytes::Bytes;
use sensor_ebpf::abi::{Direction, FlowKey};
use sensor_ebpf::parse;

use super::EngineConfig;
use crate::core::decode::{self, Checksum, Packet, Stop, TunnelKind};
use crate::core::defrag::{Defrag, Fragment, Orphan, Owed};
use crate::core::flow::tunnel::Tunnel;
use crate::core::frame::{Frame, Origin};
use crate::core::limits::Limits;
use crate::core::stats::{DecoderStats, DefragStats};
use crate::core::time::Timestamp;

/// Packets of which no more bytes than these are under a checksum are always verified: summing up
/// all bytes of large ones is what would cost most in the whole engine.
const SMALL: usize = 64;
/// So many frames have one whose packets are verified however large they are.
const VERIFIED_ONE_IN: u64 = 16;

/// What a frame is made of.
pub(super) enum Found<'a> {
    /// A frame without a packet that breaks the rules: the event's name.
    Anomaly(Meta, &'static str),
    Packet(Part<'a>),
    /// Packets and bytes of a flow, without a packet.
    Count {
        key: FlowKey,
        tunnel: Option<&'a Tunnel>,
        owed: Owed,
    },
}

/// A packet of a flow.
pub(super) struct Part<'a> {
    pub(super) packet: &'a Packet,
    /// What the packet's offsets count into.
    pub(super) data: &'a Bytes,
    pub(super) meta: Meta,
    pub(super) tunnel: Option<&'a Tunnel>,
    /// It has another packet within, perhaps one that is not followed.
    pub(super) is_tunnel: bool,
    /// A tunnel's header, or what is behind it, breaks the rules: the event's name.
    pub(super) flaw: Option<&'static str>,
    /// A checksum is wrong: the event's name.
    pub(super) wrong_checksum: Option<&'static str>,
}

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
    /// Which flow the kernel counted it for; `None` if that is the packet's own.
    pub(super) counted_for: Option<u64>,
}

impl Meta {
    pub(super) fn of(frame: &Frame) -> Self {
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
                    counted_for: None,
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

    /// Counts the packet here, of which the kernel knows no more than that it is one of `key`.
    fn count_here(&mut self, key: Option<&FlowKey>) {
        self.counts = (1, u64::from(self.wire_len));
        if let Some(sample) = &mut self.sample {
            sample.counted_for = Some(key.map_or(0, fingerprint));
        }
    }

    /// Whether the counts of the packet come from elsewhere.
    fn is_counted_by_kernel(&self) -> bool {
        self.sample
            .is_some_and(|sample| sample.counted_for.is_none())
    }
}

/// A number by which keys are told apart.
fn fingerprint(key: &FlowKey) -> u64 {
    let mix = |hash: u64, word: u64| {
        (hash ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    };
    key.words().into_iter().fold(0, mix)
}

/// A packet, and what is around it.
struct Layer {
    packet: Packet,
    data: Bytes,
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
                    let wrong_checksum = self.judge(checksums, packet.key.protocol);
                    return found(Found::Packet(Part {
                        packet: &packet,
                        data: &frame.data,
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
                    found(Found::Anomaly(meta, name));
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
                match self.reassemble(layer, origin, found) {
                    Some(whole) => layer = whole,
                    None => return,
                }
                checksums = layer.checksums(all);
                // The header is not the sender's any more.
                checksums.network = Checksum::Unknown;
            }
            let Within {
                inner,
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
            let wrong_checksum = self.judge(checksums, layer.packet.key.protocol);
            found(Found::Packet(Part {
                packet: &layer.packet,
                data: &layer.data,
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
        let wire_end = outer.packet.headers.end.min(outer.meta.wire_len as usize);
        let captured = outer.packet.headers.end.min(outer.data.len());
        let mut meta = outer.meta;
        meta.wire_len = u32::try_from(wire_end.saturating_sub(inner.at)).unwrap_or(u32::MAX);
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
            meta,
            tunnel: Some(Tunnel::new(inner.kind, inner.id, &outer.packet.key, around)),
        });
        within
    }

    /// Takes a fragment; gives the datagram that is whole now.
    fn reassemble(
        &mut self,
        layer: Layer,
        origin: parse::Origin,
        found: &mut impl FnMut(Found<'_>),
    ) -> Option<Layer> {
        let Layer {
            packet,
            data,
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
            tunnel: tunnel.as_ref(),
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
        let data = outcome.datagram?;
        let Ok(packet) = decode::reassembled(&data, &packet, origin) else {
            self.fragments.malformed += 1;
            return None;
        };
        meta.wire_len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        meta.counts = (0, 0);
        Some(Layer {
            packet,
            data,
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

    /// Counts what checksums tell, and names what is wrong.
    #[inline]
    fn judge(&mut self, checksums: Checksums, protocol: u8) -> Option<&'static str> {
        let stats = &mut self.decoder.checksums;
        let Checksums { network, transport } = checksums;
        stats.verified += u64::from(transport != Checksum::Unknown);
        stats.offloaded += u64::from(transport == Checksum::Offloaded);
        let mut wrong = None;
        if network == Checksum::Wrong {
            stats.ipv4 += 1;
            wrong = Some("decoder.ipv4.invalid_checksum");
        }
        if transport == Checksum::Wrong {
            let (counter, name) = match protocol {
                6 => (&mut stats.tcp, "decoder.tcp.invalid_checksum"),
                17 => (&mut stats.udp, "decoder.udp.invalid_checksum"),
                1 => (&mut stats.icmpv4, "decoder.icmpv4.invalid_checksum"),
                _ => (&mut stats.icmpv6, "decoder.icmpv6.invalid_checksum"),
            };
            *counter += 1;
            wrong = Some(name);
        }
        wrong
    }
}

/// What a packet's checksums tell.
#[derive(Clone, Copy, Debug)]
struct Checksums {
    network: Checksum,
    transport: Checksum,
}

impl Checksums {
    const UNKNOWN: Self = Self {
        network: Checksum::Unknown,
        transport: Checksum::Unknown,
    };

    /// `all`: also of a large packet.
    #[inline]
    fn of(packet: &Packet, data: &[u8], meta: &Meta, all: bool) -> Self {
        let is_unfinished =
            |sample: Sample| sample.direction == Direction::Egress || sample.segments > 1;
        // What a device is still to send, or has merged, has no checksum of its own yet; neither
        // has a fragment.
        if packet.headers.fragment.is_some() || meta.sample.is_some_and(is_unfinished) {
            return Self::UNKNOWN;
        }
        let end = packet.headers.end.min(data.len());
        let is_small = end.saturating_sub(packet.headers.transport) <= SMALL;
        Self {
            network: decode::network_checksum(packet, data),
            transport: if all || is_small {
                decode::transport_checksum(packet, data)
            } else {
                Checksum::Unknown
            },
        }
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
