//! The clock, and how flows end.

use super::packet::interface;
use super::{Engine, Out};
use crate::core::event::FlowReason;
use crate::core::flow::Flow;
use crate::core::proto::Side;
use crate::core::session::{Io, Session, app_proto};
use crate::core::time::Timestamp;

impl Engine {
    /// Moves the clock on and ends what is due. Time that runs backwards moves nothing.
    #[inline]
    pub(super) fn tick(&mut self, now: Timestamp, out: &mut Out<'_>) {
        self.clock = self.clock.max(now);
        if self.wheel.is_behind(self.clock) {
            self.expire(out);
        }
    }

    #[cold]
    fn expire(&mut self, out: &mut Out<'_>) {
        let mut due = std::mem::take(&mut self.due);
        due.clear();
        self.wheel.turn(self.clock, &mut due);
        let timeouts = self.config.timeouts;
        let (table, wheel, clock) = (&self.table, &mut self.wheel, self.clock);
        let drained = self.drained;
        due.retain(|slot| {
            let Some(flow) = table.get(*slot) else {
                return false;
            };
            let at = flow.due(&timeouts);
            // The tail of what was sampled is still to be counted.
            let waits = flow.live.sampled > drained;
            if at >= clock || waits {
                wheel.schedule(*slot, at);
            }
            at < clock && !waits
        });
        // The order in which flows began is the same however they are spread over engines.
        due.sort_unstable_by_key(|slot| table.get(*slot).map(|flow| flow.created));
        for slot in &due {
            self.end(*slot, FlowReason::Timeout, out);
        }
        self.due = due;
        if !self.defrag.is_empty() {
            let before = Timestamp(self.clock.0.saturating_sub(timeouts.fragments));
            let mut orphans = Vec::new();
            self.defrag
                .expire(before, &mut self.stats.defrag, &mut orphans);
            self.count_orphans(orphans, out);
        }
    }

    /// Ends the flow that would time out first, to make room.
    #[cold]
    pub(super) fn evict(&mut self, out: &mut Out<'_>) {
        // Flows hang where they were last put: some are due later than that by now. Looking at a
        // few bounds the cost of a flood.
        for _ in 0..8 {
            let Some(slot) = self.wheel.first() else {
                return;
            };
            let Some(flow) = self.table.get(slot) else {
                return;
            };
            let due = flow.due(&self.config.timeouts);
            if !self.wheel.put_back(slot, due) {
                break;
            }
        }
        if let Some(slot) = self.wheel.first() {
            self.end(slot, FlowReason::Forced, out);
        }
    }

    /// Takes a flow out and tells of its end.
    pub(super) fn end(&mut self, slot: u32, reason: FlowReason, out: &mut Out<'_>) {
        self.wheel.cancel(slot);
        if let Some(flow) = self.table.remove(slot) {
            self.conclude(flow, reason, out);
        }
    }

    /// Tells of the end of a flow that is in the table no more.
    pub(super) fn conclude(&mut self, mut flow: Flow, reason: FlowReason, out: &mut Out<'_>) {
        self.unwish(&flow);
        let stats = &mut self.stats.flow;
        stats.active = self.table.len() as u64;
        match reason {
            FlowReason::Timeout => stats.timeouts += 1,
            FlowReason::Forced => stats.evicted += 1,
            FlowReason::Shutdown => stats.shutdown += 1,
            FlowReason::TcpReuse => stats.tcp_reuse += 1,
        }
        let mut reference = flow.as_ref(interface(&self.interfaces, flow.key.ifindex()), None);
        let mut io = Io {
            flow: reference,
            time: flow.last,
            number: None,
            registry: &self.config.registry,
            limits: &self.config.limits,
            stats: &mut self.stats,
            observer: self.observer.as_deref_mut(),
            out,
        };
        match &mut flow.session {
            Session::Stream(stream) => {
                stream.finish(&mut io);
                io.stats.stream.active -= 1;
                let losses = stream.take_losses();
                for side in Side::BOTH {
                    flow.tcp.gap[side as usize] |= losses[side as usize];
                }
            }
            Session::Datagrams(datagrams) => datagrams.finish(&mut io),
            Session::New | Session::Over(_) => {}
        }
        let outcome = flow.session.outcome();
        reference.app_proto = app_proto(&self.config.registry, outcome.recognised);
        let transactions = outcome.is_recognised().then_some(outcome.transactions);
        let (body, extra) = flow.summary(reason, transactions);
        let mut event = reference.event(Side::Originator, self.clock, body);
        event.extra = Some(extra);
        out(event);
    }

    pub(super) fn finish_all(&mut self, out: &mut Out<'_>) {
        let mut orphans = Vec::new();
        self.defrag
            .expire(Timestamp(u64::MAX), &mut self.stats.defrag, &mut orphans);
        self.count_orphans(orphans, out);
        for flow in std::mem::take(&mut self.succeeded) {
            self.conclude(flow, FlowReason::TcpReuse, out);
        }
        for slot in self.table.by_age() {
            self.end(slot, FlowReason::Shutdown, out);
        }
    }
}
