//! The generations of kernel counters: closed here, handed on once their samples are dissected.

use std::time::{Duration, Instant};

use super::Live;
use crate::{core::kernel::Drain, source::live::monotonic_ns};

/// A crowded table is drained so often at the most.
const SHORTEST: Duration = Duration::from_millis(250);

/// A drain that waits until the samples of its generation have been dissected.
pub(super) struct Pending {
    pub(super) drain: Drain,
    /// Kernel time at which no program counted into the generation any more.
    pub(super) closed_ns: u64,
}

impl Live {
    /// Gives the pending drain to the engine and the detectors.
    pub(super) fn deliver(&mut self) {
        let Some(Pending { drain, .. }) = self.pending.take() else {
            return;
        };
        let (taker, interfaces) = (&mut self.taker, &self.interfaces);
        let mut out = |event| taker.take(event);
        self.engine.on_drain(&drain, &mut out);
        let name = |ifindex| interfaces.get(&ifindex).cloned();
        let (guard, plane) = (&mut self.guard, &mut self.plane);
        let mut is_taken = |address, port| guard.take(plane, address, port);
        self.syn_flood
            .on_drain(&drain, &name, &mut is_taken, &mut out);
        self.recorded();
    }

    /// The last closed generation is in the engine's hands: the kernel may forget it.
    pub(super) fn recorded(&mut self) {
        let kernel = self.engine.stats().kernel;
        let told = self.taker.told_packets + kernel.crossed_again + kernel.refused_packets;
        // What an output has yet to write would be lost with this process.
        let unwritten = self.taker.outputs.unwritten_packets();
        let untold = (kernel.packets + unwritten).saturating_sub(told);
        if let Err(error) = self.plane.generation_recorded(untold) {
            self.snapshot.generation_errors += 1;
            tracing::error!("{error}");
        }
    }

    pub(super) fn close_generation(&mut self) {
        // Only if samples come in faster than they are dissected is it still there.
        self.deliver();
        let begun = Instant::now();
        self.closed = begun;
        match self.plane.close_generation(&self.clock) {
            Ok(generation) => {
                self.snapshot.generations += 1;
                self.snapshot.add_generation(&generation.devices);
                for device in generation
                    .devices
                    .iter()
                    .filter(|device| device.difference > 0)
                {
                    tracing::error!(
                        device = device.device,
                        packets = device.difference,
                        "The law of accounting is broken: please report it"
                    );
                }
                let configured = Duration::from_millis(self.config.flows.interval_ms);
                self.interval = if generation.crowded {
                    (self.interval / 2).max(SHORTEST)
                } else {
                    (self.interval * 2).min(configured)
                };
                let drain = generation.drain.clone();
                self.pending = Some(Pending {
                    drain,
                    closed_ns: monotonic_ns(),
                });
                self.health.set_draining(true);
            }
            Err(error) => {
                self.snapshot.generation_errors += 1;
                self.health.set_draining(false);
                tracing::error!("{error}");
            }
        }
        self.snapshot.generation_seconds = begun.elapsed().as_secs_f64();
        self.publish();
        for scrape in self.scrapes.drain(..) {
            // A scrape that has given up needs no answer.
            let _ = scrape.send(());
        }
    }
}
