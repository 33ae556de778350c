//! Events on their way out: each gets its place in their order, and is counted.

use super::Out;
use crate::core::event::{Body, Event};
use crate::core::order::{Moment, Order};

/// What was emitted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Emitted {
    pub(super) events: u64,
    /// By [`AnomalyKind`](crate::core::event::AnomalyKind).
    pub(super) anomalies: [u64; 3],
}

/// The step behind those of a drain's entries: flows that were succeeded end.
pub(super) const SUCCEEDED: u32 = 1 << 31;
/// The step behind that: whatever is due then, or all flows end.
pub(super) const LAST: u32 = SUCCEEDED + 1;

/// Takes the events of one input.
pub(super) struct Emitter<'a> {
    out: &'a mut Out<'a>,
    emitted: &'a mut Emitted,
    order: Order,
}

impl<'a> Emitter<'a> {
    /// At the first step of an input's work.
    pub(super) fn new(out: &'a mut Out<'a>, emitted: &'a mut Emitted, input: u64) -> Self {
        let moment = Moment { input, step: 0 };
        Self {
            out,
            emitted,
            order: Order {
                moment,
                ..Order::default()
            },
        }
    }

    pub(super) const fn moment(&self) -> Moment {
        self.order.moment
    }

    /// Goes on to a later step.
    pub(super) const fn step(&mut self, step: u32) {
        let moment = Moment {
            step,
            ..self.order.moment
        };
        self.order = Order {
            moment,
            born: Moment { input: 0, step: 0 },
            index: 0,
        };
    }

    pub(super) const fn next_step(&mut self) {
        self.step(self.order.moment.step.saturating_add(1));
    }

    /// Goes on to another flow of a step that concerns many, in the order in which they began.
    pub(super) const fn flow(&mut self, born: Moment) {
        self.order.born = born;
        self.order.index = 0;
    }

    pub(super) fn send(&mut self, mut event: Event) {
        event.order = self.order;
        self.order.index = self.order.index.saturating_add(1);
        self.emitted.events += 1;
        if let Body::Anomaly { anomaly } = &event.body {
            self.emitted.anomalies[anomaly.kind as usize] += 1;
        }
        (self.out)(event);
    }
}
