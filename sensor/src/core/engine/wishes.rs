//! What the engine wants to see of live flows, for the kernel's sampling.
//!
//! The kernel shows each flow's first packets, and then few. A parser whose connection goes on
//! with more transactions gets all packets, until many of them have brought none; a flow of which
//! nothing more is of interest gets none. All of it ends with the flow, so that the next connection
//! with its addresses and ports begins afresh.

use sensor_ebpf::{abi::FlowKey, sampling::Verdict};

use super::Tracker;
use crate::core::flow::Flow;
use crate::core::proto::Side;
use crate::core::session::Session;

/// A change of what is wanted of one direction of a live flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    pub key: FlowKey,
    pub verdict: Verdict,
}

impl Tracker {
    /// Takes the wishes that have come up since the last call, in their order.
    pub(super) fn take_wishes(&mut self) -> std::vec::Drain<'_, Wish> {
        self.wishes.drain(..)
    }

    /// Notes what is wanted of a side, if that has changed; `key` is that of its packets.
    pub(super) fn wish(&mut self, slot: u32, side: Side, key: &FlowKey) {
        let Some(flow) = self.table.get_mut(slot) else {
            return;
        };
        let wanted = flow.wanted(side, self.config.limits.unproductive_samples);
        let told = &mut flow.live.told[side as usize];
        if *told == wanted {
            return;
        }
        if self.wishes.len() >= self.config.limits.wishes {
            // The next sample asks again.
            self.stats.kernel.wishes_dropped += 1;
            return;
        }
        *told = wanted;
        self.stats.kernel.wishes += 1;
        self.wishes.push(Wish {
            key: *key,
            verdict: wanted.unwrap_or(Verdict::Default),
        });
    }

    /// A flow has ended: takes back what was wanted of it.
    pub(super) fn unwish(&mut self, flow: &Flow) {
        for side in Side::BOTH {
            if flow.live.told[side as usize].is_none() {
                continue;
            }
            if self.wishes.len() >= self.config.limits.wishes {
                self.stats.kernel.wishes_dropped += 1;
                continue;
            }
            self.stats.kernel.wishes += 1;
            let second = flow.side(true) == side;
            let direction = flow.live.direction[side as usize].saturating_sub(1);
            self.wishes.push(Wish {
                key: flow.key.of_packets(second, direction),
                verdict: Verdict::Default,
            });
        }
    }
}

impl Flow {
    /// Notes a sample's part in the flow's transactions, and whether it had any.
    pub(super) fn note_progress(&mut self, side: Side) -> bool {
        let transactions = self.session.outcome().transactions + self.live.news;
        if transactions == self.live.transactions {
            let samples = &mut self.live.unproductive[side as usize];
            *samples = samples.saturating_add(1);
            false
        } else {
            self.live.transactions = transactions;
            self.live.unproductive = [0; 2];
            true
        }
    }

    /// `None` for what the settings of the sampling give.
    fn wanted(&self, side: Side, unproductive: [u16; 2]) -> Option<Verdict> {
        if self.is_closed() {
            return None;
        }
        let samples = self.live.unproductive[side as usize];
        let productive = samples < unproductive[side as usize];
        if self.is_tunnel {
            // Never enough: flows come and go within.
            return productive.then_some(Verdict::More);
        }
        match &self.session {
            Session::Over(_) => Some(Verdict::Enough),
            Session::Stream(stream) => (stream.goes_on() && productive).then_some(Verdict::More),
            Session::New | Session::Datagrams(_) => None,
        }
    }
}
