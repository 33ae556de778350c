//! A packet meets its flow.

use bytes::Bytes;
use sensor_ebpf::abi::FlowKey;

use super::Tracker;
use super::direction::responds;
use super::emit::Emitter;
use super::found::Part;
use crate::core::defrag::Owed;
use crate::core::event::FlowReason;
use crate::core::flow::Flow;
use crate::core::flow::key::Key;
use crate::core::flow::tcp::{ACK, RST, SYN, Segment};
use crate::core::flow::tunnel::Tunnel;
use crate::core::session::Session;
use crate::core::time::Timestamp;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// What is there of a packet's flow.
enum Known {
    None,
    Live(u32),
    /// A flow that waits for its counts had the same key.
    Succeeded,
}

/// A flow that is to begin with a packet.
pub(super) struct NewFlow<'a> {
    /// Of the key.
    pub(super) hash: u64,
    pub(super) key: Key,
    /// The packet's source is the key's second end.
    pub(super) swapped: bool,
    /// The packet is an answer.
    pub(super) responds: bool,
    pub(super) time: Timestamp,
    pub(super) tunnel: Option<&'a Tunnel>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// The flow, and where it is.
    pub(super) flow: u64,
    pub(super) slot: u32,
    /// It began the flow, or one of its transactions.
    pub(super) is_news: bool,
}

impl Tracker {
    /// Counts and dissects one packet; `None` if there was no room for its flow.
    pub(super) fn packet(&mut self, part: &Part<'_>, out: &mut Emitter<'_>) -> Option<Taken> {
        let Part {
            packet,
            data,
            meta,
            tunnel,
            ..
        } = part;
        // Its receiver drops it: it opens, closes and carries nothing.
        let is_refused = part.wrong_checksum.is_some() && self.config.strict_checksums;
        let segment = if packet.key.protocol == TCP && !is_refused {
            packet.segment(data, meta.wire_len)
        } else {
            None
        };
        let (key, swapped) = Key::of(&packet.key, tunnel.map_or(0, Tunnel::depth));
        let hash = self.table.hash(&key);
        let mut is_news = false;
        let slot = match self.find(hash, &key, swapped, meta.time, segment.as_ref(), out) {
            Known::Live(slot) => slot,
            found => {
                let new = NewFlow {
                    hash,
                    key,
                    swapped,
                    responds: responds(&packet.key, segment.as_ref()),
                    time: meta.time,
                    tunnel: *tunnel,
                };
                let slot = self.begin(new, out)?;
                self.note_succession(slot, &found);
                is_news = true;
                slot
            }
        };
        let flow = self.table.get_mut(slot)?;
        let taken = Taken {
            flow: flow.id,
            slot,
            is_news,
        };
        let side = flow.side(swapped);
        let mut meta = *meta;
        if let Some(sample) = meta.sample {
            if flow.live.crosses_again(side, sample.direction as u8) {
                self.stats.kernel.crossed_samples += 1;
                return Some(taken);
            }
            meta.skipped = !flow.live.follows(side, sample);
        }
        if let (Some(tunnel), Some(tunnels)) = (tunnel, &mut flow.tunnels) {
            tunnels.note(side, tunnel);
        }
        let state = flow.state();
        let (packets, bytes) = meta.counts;
        flow.counts_of(side, meta.is_counted_by_samples())
            .add(packets, bytes);
        flow.dissected += 1;
        flow.heard |= 1 << side as u8;
        flow.last = flow.last.max(meta.time);
        flow.is_tunnel |= part.is_tunnel;
        if part.flaw.is_some() || part.wrong_checksum.is_some() {
            self.complain(slot, side, part, out);
            if is_refused {
                return Some(taken);
            }
        }
        let flow = self.table.get_mut(slot)?;
        if let Some(segment) = segment {
            let midstream = flow.tcp.update(side, &segment, &mut flow.history);
            let stats = &mut self.stats.stream;
            stats.midstream += u64::from(midstream);
            if segment.flags & (SYN | RST) != 0 {
                stats.syn += u64::from(segment.flags & (SYN | ACK) == SYN);
                stats.syn_ack += u64::from(segment.has(SYN | ACK));
                stats.rst += u64::from(segment.has(RST));
            }
            if !matches!(flow.session, Session::Over(_)) {
                let payload = packet.payload(data.len());
                let payload = if payload.is_empty() {
                    Bytes::new()
                } else {
                    data.slice(payload)
                };
                self.segment(slot, side, &segment, payload, &meta, out);
            }
        } else {
            let payload = packet.payload(data.len());
            if !payload.is_empty() {
                flow.history.once(side, b'D');
                if packet.key.protocol == UDP && !part.is_tunnel {
                    self.datagram(slot, side, data.slice(payload), &meta, out);
                }
            }
        }
        if let Some(flow) = self.table.get_mut(slot) {
            if meta.sample.is_some() {
                is_news |= flow.note_progress(side);
            }
            if flow.state() != state {
                self.wheel.schedule(slot, flow.due(&self.config.timeouts));
            }
        }
        if meta.is_counted_by_kernel() {
            self.wish(slot, side, &packet.key);
        }
        Some(Taken { is_news, ..taken })
    }

    /// Notes that a flow within `outer` had something new.
    pub(super) fn note_news(&mut self, outer: Taken) {
        if let Some(flow) = self.table.get_mut(outer.slot)
            && flow.id == outer.flow
        {
            flow.live.news += 1;
        }
    }

    /// The live flow of a packet. Ends one that has timed out, or whose addresses and ports a new
    /// connection takes over.
    fn find(
        &mut self,
        hash: u64,
        key: &Key,
        swapped: bool,
        time: Timestamp,
        segment: Option<&Segment>,
        out: &mut Emitter<'_>,
    ) -> Known {
        let Some(slot) = self.table.find(hash, key) else {
            return Known::None;
        };
        let Some(flow) = self.table.get(slot) else {
            return Known::None;
        };
        let waits = flow.live.sampled > self.drained;
        if let Some(segment) = segment
            && flow.tcp.is_reused_by(flow.side(swapped), segment)
        {
            if waits && self.succeeded.len() < self.config.limits.succeeded_flows {
                self.wheel.cancel(slot);
                self.succeeded.extend(self.table.remove(slot));
                return Known::Succeeded;
            }
            self.end(slot, FlowReason::TcpReuse, out);
            return Known::None;
        }
        if time > flow.due(&self.config.timeouts) && !waits {
            self.end(slot, FlowReason::Timeout, out);
            return Known::None;
        }
        Known::Live(slot)
    }

    fn note_succession(&mut self, slot: u32, found: &Known) {
        if let (Known::Succeeded, Some(flow)) = (found, self.table.get_mut(slot)) {
            flow.live.is_successor = true;
        }
    }

    /// Begins a flow; `None` if there is no room.
    pub(super) fn begin(&mut self, new: NewFlow<'_>, out: &mut Emitter<'_>) -> Option<u32> {
        let NewFlow {
            hash,
            key,
            swapped,
            responds,
            time,
            tunnel,
        } = new;
        if self.table.is_full() {
            self.evict(out);
        }
        // The hash is seeded, so that ids tell nothing of addresses; the moment tells apart flows
        // with the same key.
        let created = out.moment();
        let moment = created.input ^ u64::from(created.step.saturating_sub(1)) << 32;
        let id = (hash ^ moment.wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 11;
        let mut flow = Flow::new(key, swapped, created, id, time);
        if responds {
            flow.flip();
        }
        if let Some(tunnel) = tunnel {
            let side = flow.side(swapped);
            flow.tunnels.get_or_insert_default().note(side, tunnel);
        }
        let due = flow.due(&self.config.timeouts);
        let stats = &mut self.stats.flow;
        match key.protocol() {
            TCP => stats.tcp += 1,
            UDP => stats.udp += 1,
            1 => stats.icmpv4 += 1,
            58 => stats.icmpv6 += 1,
            _ => stats.other += 1,
        }
        let slot = self.table.insert(hash, flow)?;
        stats.active = self.table.len() as u64;
        stats.peak = stats.peak.max(stats.active);
        self.wheel.schedule(slot, due);
        Some(slot)
    }

    /// Adds counts to a flow without a packet of it.
    pub(super) fn count(
        &mut self,
        key: &FlowKey,
        tunnel: Option<&Tunnel>,
        owed: Owed,
        out: &mut Emitter<'_>,
    ) {
        if owed.packets == 0 {
            return;
        }
        let (flow_key, swapped) = Key::of(key, tunnel.map_or(0, Tunnel::depth));
        let hash = self.table.hash(&flow_key);
        let slot = match self.table.find(hash, &flow_key) {
            Some(slot) => Some(slot),
            None => {
                let new = NewFlow {
                    hash,
                    key: flow_key,
                    swapped,
                    responds: responds(key, None),
                    time: owed.first,
                    tunnel,
                };
                self.begin(new, out)
            }
        };
        let Some(flow) = slot.and_then(|slot| self.table.get_mut(slot)) else {
            return;
        };
        let side = flow.side(swapped);
        if key.ifindex != 0 && flow.live.crosses_again(side, key.direction) {
            self.stats.kernel.crossed_samples += owed.packets;
            return;
        }
        // What the kernel counts is owed to nobody: live, these are samples.
        flow.counts_of(side, key.ifindex != 0)
            .add(owed.packets, owed.bytes);
        flow.heard |= 1 << side as u8;
        flow.start = flow.start.min(owed.first);
        flow.last = flow.last.max(owed.last);
    }
}

/// The name of a device.
pub(super) fn interface(
    interfaces: &[(u32, std::sync::Arc<str>)],
    ifindex: u32,
) -> Option<&std::sync::Arc<str>> {
    interfaces
        .iter()
        .find(|(known, _)| *known == ifindex)
        .map(|(_, name)| name)
}
