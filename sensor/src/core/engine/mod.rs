//! The engine: frames, drains and the time go in, events come out.

use std::sync::Arc;

use super::event::Event;
use super::frame::Frame;
use super::kernel::Drain;
use super::limits::{Limits, Timeouts};
use super::proto::{Observer, Registry};
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
    /// Fixed seed, all limits at their defaults, no protocols.
    fn default() -> Self {
        Self {
            seed: 0,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            midstream: true,
            registry: Registry::empty(),
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
}

impl Engine {
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            config,
            stats: Stats::default(),
            interfaces: Vec::new(),
            observer: None,
        }
    }

    /// Names a device, for `in_iface`; flows keep the name that they began with.
    pub fn set_interface(&mut self, ifindex: u32, name: &str) {
        self.interfaces.retain(|(known, _)| *known != ifindex);
        self.interfaces.push((ifindex, name.into()));
    }

    /// Shows the buffers of dissected messages to `observer`.
    pub fn set_observer(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    /// Takes one frame. Frames must come in the order of time as far as it is known; one that is
    /// earlier than another before is taken at its own time and moves no timer.
    pub fn on_frame(&mut self, frame: &Frame, out: &mut Out<'_>) {
        let _ = (frame, out, &self.config, &self.observer);
    }

    /// Takes the counters of a closed generation. Samples of this generation must have come
    /// before.
    pub fn on_drain(&mut self, drain: &Drain, out: &mut Out<'_>) {
        let _ = (drain, out);
    }

    /// Tells that no later call brings a time before `now`: ends flows that have timed out.
    pub fn advance(&mut self, now: Timestamp, out: &mut Out<'_>) {
        let _ = (now, out);
    }

    /// Ends all flows, at the end of input. The engine can be used on.
    pub fn finish(&mut self, out: &mut Out<'_>) {
        let _ = out;
    }

    /// Shows every live flow as the `flow` event that it would end with now.
    pub fn live_flows(&self, out: &mut Out<'_>) {
        let _ = out;
    }

    /// The counters since the start.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
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
