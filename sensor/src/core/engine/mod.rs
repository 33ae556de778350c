//! The engine: frames, drains and the time go in, events come out.
//!
//! Of captures, frames are counted and dissected. Of live traffic, counts come from the kernel's
//! drains alone and protocol state from samples alone.
//!
//! Two parts, so that a load can be shared. [`Front`] finds the packets in a frame and knows of no
//! flow; [`Tracker`] takes each packet to its flow, and nothing in it depends on more than one
//! flow except the limits. Several trackers, each given its flows' packets by a hash of the key,
//! and every step of the clock, emit the same events as one: [`Order`](super::order::Order) puts
//! them into the same order.

mod anomaly;
mod checksums;
mod direction;
mod drain;
mod emit;
mod end;
mod found;
mod front;
mod packet;
mod payload;
mod samples;
mod tracker;
mod view;
mod wishes;

pub use self::wishes::Wish;

use self::emit::{Emitted, Emitter, LAST};
use self::found::Found;
use self::front::Front;
use self::packet::Taken;
use self::tracker::Tracker;
use super::event::Event;
use super::evidence::Evidence;
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
    /// What has a wrong checksum is counted, but not dissected, as its receiver would drop it. All
    /// checksums are verified then; else those of small packets, and of large ones some.
    pub strict_checksums: bool,
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
            strict_checksums: false,
            registry: proto::standard(),
        }
    }
}

/// Takes the events that a call brings about, in order.
pub type Out<'a> = dyn FnMut(Event) + 'a;

/// One engine; see the module.
pub struct Engine {
    front: Front,
    tracker: Tracker,
    emitted: Emitted,
    evidence: Evidence,
    /// Number of the current input, from 1.
    input: u64,
}

impl Engine {
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            front: Front::new(&config),
            evidence: Evidence::new(config.limits.evidence_bytes),
            tracker: Tracker::new(config),
            emitted: Emitted::default(),
            input: 0,
        }
    }

    /// Names a device, for `in_iface`. Device 0 is where a capture's frames came from.
    pub fn set_interface(&mut self, ifindex: u32, name: &str) {
        self.tracker.set_interface(ifindex, name);
    }

    /// Shows the buffers of dissected messages to `observer`.
    pub fn set_observer(&mut self, observer: Box<dyn Observer>) {
        self.tracker.set_observer(observer);
    }

    /// Takes one frame. Frames should come in the order of time; one that is earlier than others
    /// before it is taken at its own time and moves no timer.
    pub fn on_frame(&mut self, frame: &Frame, out: &mut Out<'_>) {
        self.input += 1;
        let Self {
            front,
            tracker,
            emitted,
            evidence,
            input,
        } = self;
        let mut out = Emitter::new(out, emitted, *input);
        tick(front, tracker, frame.time, &mut out);
        // The flow of the outermost packet.
        let mut outer: Option<Taken> = None;
        front.frame(frame, &mut |found| {
            let is_inner = matches!(&found, Found::Packet(part) if part.tunnel.is_some());
            let taken = take(tracker, &found, &mut out);
            if let (Found::Packet(part), Some(taken)) = (&found, taken) {
                evidence.note(taken.flow, part.frames);
            }
            if !is_inner {
                outer = taken.or(outer);
            } else if let (Some(outer), Some(Taken { is_news: true, .. })) = (outer, taken) {
                tracker.note_news(outer);
            }
        });
        evidence.keep();
    }

    /// Takes the counters of a closed generation. The samples of this generation should have come
    /// before.
    pub fn on_drain(&mut self, drain: &Drain, out: &mut Out<'_>) {
        let (front, tracker, mut out) = self.begin(out);
        tracker.drain(drain, &mut out);
        out.step(LAST);
        tick(front, tracker, drain.closed, &mut out);
    }

    /// Tells that it is `now`: ends flows that have timed out.
    pub fn advance(&mut self, now: Timestamp, out: &mut Out<'_>) {
        let (front, tracker, mut out) = self.begin(out);
        tick(front, tracker, now, &mut out);
    }

    /// Ends all flows, at the end of input, in the order in which they began. The engine can be
    /// used on.
    pub fn finish(&mut self, out: &mut Out<'_>) {
        let (front, tracker, mut out) = self.begin(out);
        front.expire(Timestamp(u64::MAX), &mut |found| {
            take(tracker, &found, &mut out);
        });
        tracker.finish_all(&mut out);
    }

    /// Shows every live flow as the `flow` event that it would end with if all ended now; in no
    /// particular order.
    pub fn live_flows(&self, out: &mut Out<'_>) {
        self.tracker.live_flows(out);
    }

    /// The latest frames with a packet of the flow that has this `flow_id`, the oldest first, as far
    /// as [`Limits::evidence_bytes`] had room for them.
    pub fn frames_of(&self, flow: u64) -> impl Iterator<Item = &Frame> {
        self.evidence.of(flow)
    }

    /// Takes the wishes that have come up since the last call, in their order.
    pub fn take_wishes(&mut self) -> std::vec::Drain<'_, Wish> {
        self.tracker.take_wishes()
    }

    /// The counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = *self.tracker.stats();
        stats.decoder = self.front.decoder;
        stats.defrag = self.front.fragments;
        stats.events = self.emitted.events;
        let [decode, stream, applayer] = self.emitted.anomalies;
        stats.decoder.anomalies = decode;
        stats.stream.anomalies = stream;
        stats.app.anomalies = applayer;
        stats
    }

    /// The protocols that the engine recognises.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        self.tracker.registry()
    }

    /// Begins the work on an input.
    fn begin<'a>(
        &'a mut self,
        out: &'a mut Out<'_>,
    ) -> (&'a mut Front, &'a mut Tracker, Emitter<'a>) {
        self.input += 1;
        let out = Emitter::new(out, &mut self.emitted, self.input);
        (&mut self.front, &mut self.tracker, out)
    }
}

/// Moves the clock on.
#[inline]
fn tick(front: &mut Front, tracker: &mut Tracker, now: Timestamp, out: &mut Emitter<'_>) {
    if tracker.tick(now, out) {
        front.expire(tracker.fragments_due(), &mut |found| {
            take(tracker, &found, out);
        });
    }
}

/// Gives what was found in a frame to its flow.
#[inline]
fn take(tracker: &mut Tracker, found: &Found<'_>, out: &mut Emitter<'_>) -> Option<Taken> {
    out.next_step();
    match found {
        Found::Packet(part) => return tracker.packet(part, out),
        Found::Count { key, tunnel, owed } => tracker.count(key, *tunnel, *owed, out),
        Found::Anomaly { meta, name, of } => tracker.report(meta, name, *of, out),
    }
    None
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("config", self.tracker.config())
            .field("stats", &self.stats())
            .finish()
    }
}

#[cfg(test)]
mod tests;
