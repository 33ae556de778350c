//! The engine: frames, drains and the time go in, events come out.
//!
//! Of captures, frames are counted and dissected. Of live traffic, counts come from the kernel's
//! drains alone and protocol state from samples alone. Nothing here depends on more than one
//! flow except the limits, so that engines can share a load by flow.

mod direction;
mod drain;
mod end;
mod frame;
mod packet;
mod view;
mod wishes;

use std::sync::Arc;

pub use self::wishes::Wish;

use self::frame::Emitted;
use super::defrag::Defrag;
use super::event::Event;
use super::flow::Flow;
use super::flow::table::Table;
use super::flow::wheel::Wheel;
use super::frame::Frame;
use super::kernel::Drain;
use super::limits::{Limits, Timeouts};
use super::proto::{self, Observer, Registry};
use super::stats::Stats;
use super::time::Timestamp;

/// How an engine behaves; all of it is fixed for the engine's life.
#[derive(Debug)]
pub struct EngineConfig {
    /// Seed of hash tables and flow ids: random for live traffic, so that nobody can choose
    /// colliding flows; fixed for captures, so that the same file gives the same bytes.
    pub seed: u64,
    pub limits: Limits,
    pub timeouts: Timeouts,
    /// Dissect TCP connections whose start was not seen, too.
    pub midstream: bool,
    pub registry: Registry,
}

impl Default for EngineConfig {
    /// Fixed seed, all limits at their defaults, all protocols.
    fn default() -> Self {
        Self {
            seed: 0,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            midstream: true,
            registry: proto::standard(),
        }
    }
}

/// Takes the events that a call brings about, in order.
pub type Out<'a> = dyn FnMut(Event) + 'a;

/// One engine; see the module.
pub struct Engine {
    config: EngineConfig,
    stats: Stats,
    interfaces: Vec<(u32, Arc<str>)>,
    observer: Option<Box<dyn Observer>>,
    table: Table,
    wheel: Wheel,
    defrag: Defrag,
    /// The latest time that any input brought.
    clock: Timestamp,
    /// Number of the current input, from 1.
    input: u64,
    /// The latest generation that was drained.
    drained: u64,
    /// Live flows whose addresses and ports another connection took over before the drain of
    /// their last generation, in the order in which they began.
    succeeded: Vec<Flow>,
    /// Flows that came up in the wheel; kept for its memory.
    due: Vec<u32>,
    /// What the kernel's sampling is to be told.
    wishes: Vec<Wish>,
}

impl Engine {
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            table: Table::new(config.seed, config.limits.flows),
            wheel: Wheel::new(),
            defrag: Defrag::new(config.seed),
            config,
            stats: Stats::default(),
            interfaces: Vec::new(),
            observer: None,
            clock: Timestamp::default(),
            input: 0,
            drained: 0,
            succeeded: Vec::new(),
            due: Vec::new(),
            wishes: Vec::new(),
        }
    }

    /// Names a device, for `in_iface`. Device 0 is where a capture's frames came from.
    pub fn set_interface(&mut self, ifindex: u32, name: &str) {
        self.interfaces.retain(|(known, _)| *known != ifindex);
        self.interfaces.push((ifindex, name.into()));
    }

    /// Shows the buffers of dissected messages to `observer`.
    pub fn set_observer(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    /// Takes one frame. Frames should come in the order of time; one that is earlier than others
    /// before it is taken at its own time and moves no timer.
    pub fn on_frame(&mut self, frame: &Frame, out: &mut Out<'_>) {
        let mut emitted = Emitted::default();
        let out = &mut |event| emitted.pass(event, out);
        self.input += 1;
        self.tick(frame.time, out);
        self.frame(frame, out);
        emitted.note(&mut self.stats);
    }

    /// Takes the counters of a closed generation. The samples of this generation should have come
    /// before.
    pub fn on_drain(&mut self, drain: &Drain, out: &mut Out<'_>) {
        let mut emitted = Emitted::default();
        let out = &mut |event| emitted.pass(event, out);
        self.input += 1;
        self.drain(drain, out);
        self.tick(drain.closed, out);
        emitted.note(&mut self.stats);
    }

    /// Tells that it is `now`: ends flows that have timed out.
    pub fn advance(&mut self, now: Timestamp, out: &mut Out<'_>) {
        let mut emitted = Emitted::default();
        let out = &mut |event| emitted.pass(event, out);
        self.input += 1;
        self.tick(now, out);
        emitted.note(&mut self.stats);
    }

    /// Ends all flows, at the end of input, in the order in which they began. The engine can be
    /// used on.
    pub fn finish(&mut self, out: &mut Out<'_>) {
        let mut emitted = Emitted::default();
        let out = &mut |event| emitted.pass(event, out);
        self.input += 1;
        self.finish_all(out);
        emitted.note(&mut self.stats);
    }

    /// The counters since the start.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The protocols that the engine recognises.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.config.registry
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.config)
            .field("stats", &self.stats)
            .finish()
    }
}

#[cfg(test)]
mod tests;
