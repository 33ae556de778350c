//! The live loop: the one thread that owns the data plane and the engine.
//!
//! Each turn waits briefly for samples, dissects them in the order of time, and closes a
//! generation of kernel counters when its interval is over or a scrape asks for it. A generation's
//! drain goes to the engine only after the samples of that generation, so that no flow's tail
//! comes as a surprise.

mod devices;
mod generation;
pub(super) mod guard;
mod lists;
mod passive;
mod reload;
mod requests;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use self::{generation::Pending, guard::Guard, lists::LiveLists};
use super::{Command, DaemonError, events::Outputs, stats, systemd};
use crate::{
    bpf::{AttachOptions, DataPlane, PlaneError},
    config::{Config, Sampling},
    core::{detect::syn_flood::SynFlood, engine::Engine, event::Event, time::Timestamp},
    lists::FeedFile,
    metrics::{Batches, Dissected, Exporter, Health, Snapshot},
    source::live::{Clock, Options, Source, monotonic_ns},
};

/// Programs wake user space once for many samples: look by ourselves so often.
const WAIT: Duration = Duration::from_millis(20);
/// Samples that one turn reads.
const BATCH: usize = 4096;
/// Scrapes close a generation at most so often; those in between share one.
const REFRESH: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_secs(1);

/// What the loop is made of.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) feeds: Vec<FeedFile>,
    pub(super) force_tap: bool,
    pub(super) plane: DataPlane,
    pub(super) outputs: Outputs,
    pub(super) exporter: Exporter,
    pub(super) health: Arc<Health>,
    pub(super) refreshes: mpsc::Receiver<oneshot::Sender<()>>,
    pub(super) inbox: mpsc::Receiver<Command>,
}

/// Attaches, tells so, and turns until it is stopped.
pub(super) fn run(parts: Parts, started: oneshot::Sender<()>) -> Result<(), DaemonError> {
    let mut live = Live::start(parts)?;
    // Nobody waits any more only if the process is on its way out.
    let _ = started.send(());
    while !live.stopped {
        live.turn()?;
    }
    live.finish();
    Ok(())
}

/// Who takes events: the counters of what was dissected, and the outputs.
struct Taker {
    dissected: Dissected,
    /// Packets of the flows that were told, to outputs that may not have written them yet.
    told_packets: u64,
    outputs: Outputs,
}

impl Taker {
    fn take(&mut self, event: Event) {
        self.dissected.count(&event);
        self.told_packets += event.counted_packets();
        self.outputs.push(event);
    }
}

struct Live {
    config: Config,
    plane: DataPlane,
    clock: Clock,
    source: Source,
    engine: Engine,
    syn_flood: SynFlood,
    guard: Guard,
    lists: LiveLists,
    taker: Taker,
    snapshot: Snapshot,
    interfaces: BTreeMap<u32, Arc<str>>,
    exporter: Exporter,
    batches: Batches,
    health: Arc<Health>,
    watchdog: systemd::Watchdog,
    refreshes: mpsc::Receiver<oneshot::Sender<()>>,
    /// Scrapes that wait for the next generation.
    scrapes: Vec<oneshot::Sender<()>>,
    inbox: mpsc::Receiver<Command>,
    pending: Option<Pending>,
    started: Instant,
    closed: Instant,
    /// The configured one, or less while the flow table is crowded.
    interval: Duration,
    looked: Instant,
    told: Instant,
    more: bool,
    stopped: bool,
    /// The data plane stays, and what it counts and samples from now on is the next process's.
    leaving: bool,
}

/// The filters first: once they are switched on, they have to be there.
fn apply_sampling(plane: &mut DataPlane, sampling: &Sampling) -> Result<(), PlaneError> {
    plane.set_filters(&sampling.filter.prefixes(), &sampling.filter.ports)?;
    plane.apply(&sampling.settings())
}

impl Live {
    fn start(parts: Parts) -> Result<Self, DaemonError> {
        let Parts {
            mut config,
            feeds,
            force_tap,
            mut plane,
            outputs,
            exporter,
            health,
            refreshes,
            inbox,
        } = parts;
        let options = AttachOptions {
            mode: config.mode.xdp().unwrap_or_default(),
            tap: config.tap,
            force_tap,
            ..AttachOptions::default()
        };
        // Before anything changes of what may be pinned, and defends on if this start fails.
        for device in &config.interfaces {
            plane.check(device, options)?;
        }
        passive::restrict(&mut config);
        let clock = Clock::start();
        let seed = RandomState::new().hash_one(std::process::id());
        let engine = Engine::new(config.engine.with_seed(seed));
        let now = Instant::now();
        let mut left_defended = Vec::new();
        let mut live = Self {
            batches: exporter.batches(),
            interval: Duration::from_millis(config.flows.interval_ms),
            syn_flood: SynFlood::new(config.detect.syn_flood.clone()),
            lists: LiveLists::resume(&mut plane),
            taker: Taker {
                dissected: Dissected::default(),
                told_packets: 0,
                outputs,
            },
            snapshot: Snapshot {
                flow_capacity: plane.flow_table_capacity(),
                programs: plane.programs().to_vec(),
                pinned: plane.is_pinned(),
                ..Snapshot::default()
            },
            guard: Guard::start(&mut plane, &config, &mut |turn| left_defended.push(*turn))?,
            config,
            plane,
            source: Source::new(Options::default()),
            engine,
            clock,
            interfaces: BTreeMap::new(),
            exporter,
            health,
            watchdog: systemd::Watchdog::new(),
            refreshes,
            scrapes: Vec::new(),
            inbox,
            pending: None,
            started: now,
            closed: now,
            looked: now,
            told: now,
            more: false,
            stopped: false,
            leaving: false,
        };
        live.snapshot.reload.loaded = live.now();
        apply_sampling(&mut live.plane, &live.config.sampling)?;
        live.set_pass_all(live.config.pass_all)?;
        // In force before the first packet.
        live.configure_lists(&feeds);
        for device in live.config.interfaces.clone() {
            let attachment = live.plane.attach(&device, options)?;
            live.attached(&attachment);
        }
        live.tell_unenforced();
        live.snapshot.takeover = live.plane.settle()?;
        live.tell_takeover();
        let tell = &mut |turn: &_| left_defended.push(*turn);
        if let Err(error) = live.guard.settle(&mut live.plane, &live.config, tell) {
            tracing::error!("The SYN-flood guard goes on as before, and is told again: {error}");
        }
        live.tell_turns(&left_defended);
        live.health.set_attached(true);
        live.publish();
        Ok(live)
    }

    fn now(&self) -> Timestamp {
        self.clock.wall(monotonic_ns())
    }

    fn turn(&mut self) -> Result<(), DaemonError> {
        self.plane
            .wait(if self.more { Duration::ZERO } else { WAIT })?;
        self.health.turned();
        self.watchdog.feed();
        self.clock.follow();
        self.read_samples();
        self.tell_wishes();
        self.guard_destinations();
        self.answer();
        if self.taker.outputs.reader_left() {
            tracing::info!("The reader of the events has gone");
            self.stopped = true;
        }
        let due = self.closed.elapsed() >= self.interval;
        let asked = !self.scrapes.is_empty() && self.closed.elapsed() >= REFRESH;
        if due || asked {
            self.close_generation();
        }
        if self.looked.elapsed() >= SECOND {
            self.looked = Instant::now();
            self.follow_devices();
            self.expire_lists();
        }
        let stats = Duration::from_secs(self.config.stats.interval_seconds);
        if !stats.is_zero() && self.told.elapsed() >= stats {
            self.told = Instant::now();
            self.tell_stats();
        }
        Ok(())
    }

    /// Dissects the samples that are due, then hands the engine the drain that they belong to.
    fn read_samples(&mut self) {
        let begun = Instant::now();
        let source = &mut self.source;
        let push = |header: &_, bytes: &[u8]| source.push(header, bytes);
        let polled = if self.leaving {
            self.plane.poll_closed_samples(BATCH, push)
        } else {
            self.plane.poll_samples(BATCH, push)
        };
        self.more = polled.more;
        self.snapshot.malformed_samples += u64::try_from(polled.malformed).unwrap_or(u64::MAX);
        let mut frames = 0_usize;
        let (engine, taker) = (&mut self.engine, &mut self.taker);
        source.release(polled.frontier_ns, &self.clock, |live| {
            frames += 1;
            engine.on_frame(&live.frame, &mut |event| taker.take(event));
        });
        if frames > 0 {
            self.batches.observe(begun.elapsed());
        }
        let released_ns = polled
            .frontier_ns
            .saturating_sub(Options::default().window_ns);
        if self
            .pending
            .as_ref()
            .is_some_and(|pending| pending.closed_ns <= released_ns)
        {
            self.deliver();
        }
        let now = self.clock.wall(released_ns);
        let taker = &mut self.taker;
        self.engine.advance(now, &mut |event| taker.take(event));
    }

    /// Tells the sampling what the engine wants to see of flows.
    fn tell_wishes(&mut self) {
        for wish in self.engine.take_wishes() {
            if let Err(error) = self.plane.set_verdict(&wish.key, wish.verdict) {
                // One refusal tells enough: what is missing is samples, not counts.
                if self.snapshot.verdict_errors == 0 {
                    tracing::error!("{error}");
                }
                self.snapshot.verdict_errors += 1;
            }
        }
    }

    fn publish(&mut self) {
        self.snapshot.engine = self.engine.stats();
        self.snapshot.dissected = self.taker.dissected;
        self.snapshot.samples = *self.source.stats();
        self.snapshot.clock_steps = self.clock.steps();
        self.snapshot.guard = self.guard.snapshot();
        self.snapshot.outputs = self.taker.outputs.counters();
        self.exporter.publish(self.snapshot.clone());
    }

    fn tell_stats(&mut self) {
        let event = stats::event(&self.snapshot, self.now(), self.started.elapsed());
        self.taker.take(event);
    }

    /// Detaches first, so that traffic is free of us, then counts and flushes what there is. A
    /// pinned data plane stays: this counts and flushes up to a last generation.
    fn finish(mut self) {
        if self.plane.is_pinned() {
            self.flush();
            tracing::info!(
                path = %self.config.pin.path.display(),
                "The data plane stays at work and waits for the next start: `sensor detach` \
                 removes it; {}",
                stats::line(&self.snapshot, self.plane.attachments().count())
            );
            return;
        }
        let devices: Vec<_> = self
            .plane
            .attachments()
            .map(|attachment| attachment.device.clone())
            .collect();
        for device in devices {
            self.plane.detach(&device);
        }
        self.health.set_attached(false);
        self.flush();
        tracing::info!("Detached; {}", stats::line(&self.snapshot, 0));
    }

    fn flush(&mut self) {
        // The samples of the generation before come before its drain.
        let begun = Instant::now();
        while self.pending.is_some() && begun.elapsed() < SECOND && self.plane.wait(WAIT).is_ok() {
            self.read_samples();
        }
        self.close_generation();
        self.leaving = self.plane.is_pinned();
        loop {
            self.read_samples();
            if !self.more {
                break;
            }
        }
        let (engine, taker) = (&mut self.engine, &mut self.taker);
        self.source.flush(&self.clock, |live| {
            engine.on_frame(&live.frame, &mut |event| taker.take(event));
        });
        self.deliver();
        let taker = &mut self.taker;
        self.engine.finish(&mut |event| taker.take(event));
        self.publish();
        if self.config.stats.interval_seconds > 0 {
            self.tell_stats();
        }
        // Whoever is killed while an output takes its time shall have told as much as it has.
        self.recorded();
        self.taker.outputs.close();
        // Every flow is told and written now.
        self.recorded();
    }
}
