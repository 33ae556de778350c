//! Counts of live flows: from the kernel's drains, and from nowhere else.

use sensor_ebpf::abi::FlowKey;

use super::Tracker;
use super::direction::responds;
use super::emit::{Emitter, SUCCEEDED};
use super::packet::NewFlow;
use crate::core::event::FlowReason;
use crate::core::flow::Flow;
use crate::core::flow::key::Key;
use crate::core::kernel::{Drain, KernelFlow};
use crate::core::proto::Side;

impl Tracker {
    pub(super) fn drain(&mut self, drain: &Drain, out: &mut Emitter<'_>) {
        self.stats.kernel.drains += 1;
        // The drain has no order; flows begin in that of their first packets, and at the same
        // tick by who is known to open.
        let mut order: Vec<&KernelFlow> = drain.flows.iter().collect();
        order.sort_unstable_by_key(|entry| (entry.first, !entry.by_cookie, entry.key));
        for entry in order {
            out.next_step();
            self.entry(entry, drain.epoch, out);
        }
        out.step(SUCCEEDED);
        self.drained = self.drained.max(drain.epoch);
        let drained = self.drained;
        let mut done: Vec<Flow> = self
            .succeeded
            .extract_if(.., |flow| flow.live.sampled <= drained)
            .collect();
        done.sort_unstable_by_key(|flow| flow.created);
        for flow in done {
            out.flow(flow.created);
            self.conclude(flow, FlowReason::TcpReuse, out);
        }
    }

    fn entry(&mut self, entry: &KernelFlow, epoch: u64, out: &mut Emitter<'_>) {
        let stats = &mut self.stats.kernel;
        stats.entries += 1;
        stats.packets += entry.packets;
        stats.bytes += entry.bytes;
        let (key, swapped) = Key::of(&entry.key, 0);
        let hash = self.table.hash(&key);
        let mut found = self.table.find(hash, &key);
        if let Some(slot) = found
            && self.is_successor(slot, entry)
        {
            self.end(slot, FlowReason::TcpReuse, out);
            found = None;
        }
        let slot = match found {
            Some(slot) => slot,
            None => {
                self.stats.kernel.unsampled += 1;
                let new = NewFlow {
                    hash,
                    key,
                    swapped,
                    responds: answers(entry, &entry.key),
                    time: entry.first,
                    tunnel: None,
                };
                let Some(slot) = self.begin(new, out) else {
                    self.stats.kernel.refused += 1;
                    self.stats.kernel.refused_packets += entry.packets;
                    return;
                };
                slot
            }
        };
        let Some(flow) = self.table.get_mut(slot) else {
            return;
        };
        let mut entry = *entry;
        if flow.live.is_successor {
            share(&mut self.succeeded, flow, swapped, epoch, &mut entry);
        }
        let entry = &entry;
        let state = flow.state();
        let mut side = flow.side(swapped);
        if !flow.tcp.has_start() && flow.counts[side.peer() as usize].packets == 0 {
            // Nothing but the first sample's ports told the roles so far.
            let opens = entry.by_cookie || entry.syn > 0 && entry.syn_ack == 0;
            let opened = opens.then_some(side);
            let answered = (entry.syn_ack > 0 && entry.syn == 0).then_some(side.peer());
            if opened.or(answered) == Some(Side::Responder) {
                flow.flip();
                side = side.peer();
            }
        }
        if flow.live.crosses_again(side, entry.key.direction) {
            self.stats.kernel.crossed_again += entry.packets;
            return;
        }
        flow.counts[side as usize].add(entry.packets, entry.bytes);
        flow.heard |= 1 << side as u8;
        flow.start = flow.start.min(entry.first);
        flow.last = flow.last.max(entry.last);
        if entry.by_cookie {
            flow.live.by_cookie = true;
            flow.tcp.establish();
        }
        flow.tcp.conclude(side, entry);
        let is_told = flow.live.told[side as usize].is_some();
        if flow.state() != state {
            let due = flow.due(&self.config.timeouts);
            self.wheel.schedule(slot, due);
        }
        if is_told {
            self.wish(slot, side, &entry.key);
        }
    }

    /// Whether an entry is that of a new connection on a closed flow's addresses and ports, of
    /// which no sample has told.
    fn is_successor(&self, slot: u32, entry: &KernelFlow) -> bool {
        self.table.get(slot).is_some_and(|flow| {
            flow.is_closed() && entry.syn > 0 && entry.first > flow.last && entry.syn_ack == 0
        })
    }
}

/// Gives the predecessors of a flow their part of what the kernel counted for all of them under
/// one key: the packets before the first sample of the next. Bytes are shared in proportion.
fn share(succeeded: &mut [Flow], heir: &Flow, swapped: bool, epoch: u64, entry: &mut KernelFlow) {
    let (packets, bytes) = (entry.packets, entry.bytes);
    let before = |flow: &Flow| {
        (flow.live.began == epoch).then_some(flow.live.before[flow.side(swapped) as usize])?
    };
    let mut upper = before(heir);
    // From the latest to the first: each one's part ends where the next one's begins.
    for flow in succeeded
        .iter_mut()
        .rev()
        .filter(|flow| flow.key == heir.key)
    {
        let lower = before(flow);
        if let Some(end) = upper {
            let part = end.saturating_sub(lower.unwrap_or(0)).min(entry.packets);
            let of_bytes = u128::from(bytes) * u128::from(part) / u128::from(packets.max(1));
            let of_bytes = u64::try_from(of_bytes).unwrap_or(u64::MAX).min(entry.bytes);
            let side = flow.side(swapped);
            flow.counts[side as usize].add(part, of_bytes);
            entry.packets -= part;
            entry.bytes -= of_bytes;
        }
        upper = lower.or(upper);
    }
}

/// Whether the first that is known of a flow is its responder's side.
fn answers(entry: &KernelFlow, key: &FlowKey) -> bool {
    match (entry.syn > 0 || entry.by_cookie, entry.syn_ack > 0) {
        (true, false) => false,
        (false, true) => true,
        _ => responds(key, None),
    }
}
