//! The flows, and what they need.

use std::sync::Arc;

use super::{EngineConfig, Wish};
use crate::core::flow::Flow;
use crate::core::flow::table::Table;
use crate::core::flow::wheel::Wheel;
use crate::core::proto::{Observer, Registry};
use crate::core::stats::Stats;
use crate::core::time::Timestamp;

/// Takes packets and counts to their flows.
pub(super) struct Tracker {
    pub(super) config: EngineConfig,
    pub(super) stats: Stats,
    pub(super) interfaces: Vec<(u32, Arc<str>)>,
    pub(super) observer: Option<Box<dyn Observer>>,
    pub(super) table: Table,
    pub(super) wheel: Wheel,
    /// The latest time that any input brought.
    pub(super) clock: Timestamp,
    /// The latest generation that was drained.
    pub(super) drained: u64,
    /// Live flows whose addresses and ports another connection took over before the drain of
    /// their last generation, in the order in which they began.
    pub(super) succeeded: Vec<Flow>,
    /// Flows that came up in the wheel; kept for its memory.
    pub(super) due: Vec<u32>,
    /// What the kernel's sampling is to be told.
    pub(super) wishes: Vec<Wish>,
}

impl Tracker {
    pub(super) fn new(config: EngineConfig) -> Self {
        Self {
            table: Table::new(config.seed, config.limits.flows),
            wheel: Wheel::new(),
            config,
            stats: Stats::default(),
            interfaces: Vec::new(),
            observer: None,
            clock: Timestamp::default(),
            drained: 0,
            succeeded: Vec::new(),
            due: Vec::new(),
            wishes: Vec::new(),
        }
    }

    pub(super) fn set_interface(&mut self, ifindex: u32, name: &str) {
        self.interfaces.retain(|(known, _)| *known != ifindex);
        self.interfaces.push((ifindex, name.into()));
    }

    pub(super) fn set_observer(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    /// What its flows brought; frames are counted elsewhere.
    pub(super) const fn stats(&self) -> &Stats {
        &self.stats
    }

    pub(super) const fn config(&self) -> &EngineConfig {
        &self.config
    }

    pub(super) const fn registry(&self) -> &Registry {
        &self.config.registry
    }
}
