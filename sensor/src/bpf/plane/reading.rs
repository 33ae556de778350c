//! What a running data plane gives: generations of counters, and samples.

use std::{os::fd::BorrowedFd, time::Duration};

use sensor_ebpf::abi::SampleHeader;

use super::{DataPlane, failed};
use crate::{
    bpf::{Generation, GenerationError, PlaneError, load::Loaded},
    source::live::Clock,
};

/// What one round over the sample rings gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Records taken out of the rings.
    pub records: usize,
    /// Those of them that were too short to be one, and were dropped (0 unless kernel and user
    /// space disagree), or that a version with another layout of records has left behind.
    pub malformed: usize,
    /// Kernel time (`CLOCK_MONOTONIC`, nanoseconds) before which every record of every ring has
    /// been handed out: the watermark of [`crate::source::live::Source::release`].
    pub frontier_ns: u64,
    /// Rings may hold more: poll again without waiting.
    pub more: bool,
}

impl DataPlane {
    /// Closes the generation that is counted into, and reads it. Takes tens of milliseconds, most
    /// of it waiting for programs that still run. The result's memory is reused by the next call,
    /// which also takes this generation for recorded.
    ///
    /// The first generations after a takeover are those that nobody has recorded.
    ///
    /// # Errors
    /// [`GenerationError`]; nothing is lost, the next call goes on with the same generation.
    pub fn close_generation(&mut self, clock: &Clock) -> Result<&Generation, GenerationError> {
        self.record_generation()?;
        let Loaded {
            generations,
            slots,
            previous,
            ..
        } = &mut self.loaded;
        match previous.first_mut() {
            Some(previous) if previous.is_readable() => previous.close(slots, clock),
            _ => generations.close(slots, clock),
        }
    }

    /// Deletes the records of the generation that was closed last from the kernel, because they
    /// are in good hands: `untold_packets` of all that were recorded so far are in no event yet,
    /// and would be lost to events if this process died now.
    ///
    /// # Errors
    /// [`GenerationError`]; nothing is lost, the next call goes on with the same generation.
    pub fn generation_recorded(&mut self, untold_packets: u64) -> Result<(), GenerationError> {
        if let Some(pins) = &mut self.loaded.pins {
            pins.head().untold_packets = untold_packets;
        }
        self.record_generation()?;
        self.save();
        Ok(())
    }

    fn record_generation(&mut self) -> Result<(), GenerationError> {
        let Loaded {
            generations,
            slots,
            pins,
            previous,
            rings,
            ..
        } = &mut self.loaded;
        if let Some(first) = previous.first_mut().filter(|first| first.is_readable()) {
            first.recorded(slots)?;
            if first.is_done()
                && let Err(error) = previous.remove(0).remove()
            {
                tracing::warn!("What was drained of an earlier data plane stays: {error}");
            }
            if previous.is_empty() {
                rings.release();
            }
            return Ok(());
        }
        let Some(epoch) = generations.read() else {
            return Ok(());
        };
        if let Some(pins) = pins {
            pins.recorded(epoch, generations.packets(), slots)
                .map_err(|source| GenerationError {
                    epoch,
                    step: "recording how far it was read",
                    source,
                })?;
        }
        generations.recorded(slots)
    }

    /// Hands out up to `budget` records of the sample rings, round robin, oldest of each ring
    /// first. The bytes are valid during the call only.
    pub fn poll_samples(
        &mut self,
        budget: usize,
        sink: impl FnMut(&SampleHeader, &[u8]),
    ) -> Polled {
        self.loaded.rings.poll(budget, u64::MAX, sink)
    }

    /// [`DataPlane::poll_samples`] that leaves what belongs to the generation that is open to the
    /// process that will close it.
    pub fn poll_closed_samples(
        &mut self,
        budget: usize,
        sink: impl FnMut(&SampleHeader, &[u8]),
    ) -> Polled {
        let last = self.loaded.generations.epoch() - 1;
        self.loaded.rings.poll(budget, last, sink)
    }

    /// Waits until a ring asks to be read, at most for `timeout`. Programs wake user space once
    /// for many records, so poll the rings at a timeout, too.
    ///
    /// # Errors
    /// [`PlaneError`] if `poll(2)` fails; a signal is not an error.
    pub fn wait(&self, timeout: Duration) -> Result<bool, PlaneError> {
        self.loaded
            .rings
            .wait(timeout)
            .map_err(failed("wait for samples"))
    }

    /// Descriptors of the rings for an event loop of the caller's own: readable means "poll".
    pub fn ring_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.loaded.rings.fds()
    }

    /// For tests: loses flows of the generation that is counted into.
    #[doc(hidden)]
    pub fn lose_flows(&mut self) {
        self.loaded.generations.lose_flows();
    }
}
