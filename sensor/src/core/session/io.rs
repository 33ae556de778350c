//! What a session borrows from the engine for one packet.

use crate::core::event::Event;
use crate::core::limits::Limits;
use crate::core::proto::{Context, FlowRef, Observer, Protocol, Recognised, Registry};
use crate::core::stats::Stats;
use crate::core::time::Timestamp;

/// What a session needs from the engine while it takes one packet.
pub(crate) struct Io<'a> {
    /// The session's flow, without its protocol.
    pub(crate) flow: FlowRef<'a>,
    pub(crate) time: Timestamp,
    /// The capture's packet number.
    pub(crate) number: Option<u64>,
    pub(crate) registry: &'a Registry,
    pub(crate) limits: &'a Limits,
    pub(crate) stats: &'a mut Stats,
    pub(crate) observer: Option<&'a mut (dyn Observer + 'static)>,
    pub(crate) out: &'a mut dyn FnMut(Event),
}

impl Io<'_> {
    /// The context for a parser of the protocol.
    pub(crate) fn context(&mut self, protocol: u8) -> Context<'_> {
        let mut flow = self.flow;
        flow.app_proto = app_proto(self.registry, Recognised::As(protocol));
        Context::new(
            flow,
            self.time,
            self.number,
            self.out,
            self.observer.as_deref_mut(),
        )
    }

    /// What reassembly of all streams may still hold, bytes.
    pub(crate) const fn room(&self) -> usize {
        self.limits
            .reassembly_bytes
            .saturating_sub(self.stats.stream.held_bytes as usize)
    }
}

/// EVE's `app_proto`.
pub(crate) fn app_proto(registry: &Registry, recognised: Recognised) -> Option<&'static str> {
    match recognised {
        Recognised::NotYet => None,
        Recognised::Unknown => Some("failed"),
        Recognised::As(index) => registry.get(index).map(Protocol::name),
    }
}
