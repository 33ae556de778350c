//! What a live engine shows without being changed.

use super::packet::interface;
use super::{Out, Tracker};
use crate::core::event::FlowReason;
use crate::core::proto::Side;

impl Tracker {
    /// Shows every live flow as the `flow` event that it would end with if all ended now; in no
    /// particular order.
    pub(super) fn live_flows(&self, out: &mut Out<'_>) {
        for flow in self.table.iter() {
            let outcome = flow.session.outcome();
            let name = interface(&self.interfaces, flow.key.ifindex());
            let transactions = outcome.is_recognised().then_some(outcome.transactions);
            let (body, extra) = flow.summary(FlowReason::Shutdown, transactions);
            let mut reference = flow.as_ref(name);
            reference.app_proto = flow.app_proto(&self.config.registry);
            let mut event = reference.event(Side::Originator, self.clock, body);
            event.add_extra(extra);
            out(event);
        }
    }
}
