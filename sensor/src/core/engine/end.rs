//! The clock, and how flows end.

use super::Tracker;
use super::emit::{Emitter, LAST, SUCCEEDED};
use super::packet::interface;
use crate::core::event::FlowReason;
use crate::core::flow::Flow;
use crate::core::proto::Side;
use crate::core::session::{Io, Session};
use crate::core::time::Timestamp;

impl Tracker {
    /// Moves the clock on and ends what is due; whether something may have been. Time that runs
    /// backwards moves nothing.
    #[inline]
    pub(super) fn tick(&mut self, now: Timestamp, out: &mut Emitter<'_>) -> bool {
        self.clock = self.clock.max(now);
        let is_behind = self.wheel.is_behind(self.clock);
        if is_behind {
            self.expire(out);
        }
        is_behind
    }

    /// When fragments that are given up now came, at the latest.
    pub(super) fn fragments_due(&self) -> Timestamp {
        Timestamp(self.clock.0.saturating_sub(self.config.timeouts.fragments))
    }

    #[cold]
    fn expire(&mut self, out: &mut Emitter<'_>) {
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
            self.end_in_turn(*slot, FlowReason::Timeout, out);
        }
        self.due = due;
    }

    /// Ends the flow that would time out first, to make room.
    #[cold]
    pub(super) fn evict(&mut self, out: &mut Emitter<'_>) {
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

    /// The same where many flows end at once, from the oldest to the youngest.
    fn end_in_turn(&mut self, slot: u32, reason: FlowReason, out: &mut Emitter<'_>) {
        if let Some(flow) = self.table.get(slot) {
            out.flow(flow.created);
        }
        self.end(slot, reason, out);
    }

    /// Takes a flow out and tells of its end.
    pub(super) fn end(&mut self, slot: u32, reason: FlowReason, out: &mut Emitter<'_>) {
        self.wheel.cancel(slot);
        if let Some(flow) = self.table.remove(slot) {
            self.conclude(flow, reason, out);
        }
    }

    /// Tells of the end of a flow that is in the table no more.
    pub(super) fn conclude(&mut self, mut flow: Flow, reason: FlowReason, out: &mut Emitter<'_>) {
        self.unwish(&flow);
        let stats = &mut self.stats.flow;
        stats.active = self.table.len() as u64;
        match reason {
            FlowReason::Timeout => stats.timeouts += 1,
            FlowReason::Forced => stats.evicted += 1,
            FlowReason::Shutdown => stats.shutdown += 1,
            FlowReason::TcpReuse => stats.tcp_reuse += 1,
        }
        let name = interface(&self.interfaces, flow.key.ifindex());
        let time = flow.last;
        let (reference, session) = flow.split(name);
        let mut emit = |event| out.send(event);
        let mut io = Io {
            flow: reference,
            time,
            number: None,
            registry: &self.config.registry,
            limits: &self.config.limits,
            stats: &mut self.stats,
            observer: self.observer.as_deref_mut(),
            out: &mut emit,
        };
        let mut losses = [false; 2];
        match session {
            Session::Stream(stream) => {
                stream.finish(&mut io);
                io.stats.stream.active -= 1;
                losses = stream.take_losses();
            }
            Session::Datagrams(datagrams) => datagrams.finish(&mut io),
            Session::New | Session::Over(_) => {}
        }
        for side in Side::BOTH {
            flow.tcp.gap[side as usize] |= losses[side as usize];
        }
        let outcome = flow.session.outcome();
        let mut reference = flow.as_ref(name);
        reference.app_proto = flow.app_proto(&self.config.registry);
        let transactions = outcome.is_recognised().then_some(outcome.transactions);
        let (body, extra) = flow.summary(reason, transactions);
        let mut event = reference.event(Side::Originator, self.clock, body);
        event.add_extra(extra);
        out.send(event);
    }

    pub(super) fn finish_all(&mut self, out: &mut Emitter<'_>) {
        out.step(SUCCEEDED);
        self.succeeded.sort_unstable_by_key(|flow| flow.created);
        for flow in std::mem::take(&mut self.succeeded) {
            out.flow(flow.created);
            self.conclude(flow, FlowReason::TcpReuse, out);
        }
        out.step(LAST);
        for slot in self.table.by_age() {
            self.end_in_turn(slot, FlowReason::Shutdown, out);
        }
    }
}
