//! A pinned data plane with other layouts: read to its end, then removed.

use std::io;

use sensor_ebpf::abi::Totals;

use super::{
    super::{Generation, GenerationError, generation::Generations, slots::Slots},
    Meta, Old, PinError, State,
    outside::{epoch, unread_runs},
};
use crate::source::live::Clock;

// What every version can read of every other: the number of the generation in `EPOCH`, and that
// `TOTALS` begins with all values of even generations, each of which begins with the runs.
const _: () = assert!(std::mem::offset_of!(Totals, runs) == 0);

/// What an earlier version, or one with other sizes, has counted.
#[derive(Debug)]
pub(in super::super) struct Previous {
    old: Old,
    /// Its generations, if this build knows their layout.
    generations: Option<Generations>,
    epoch: u64,
    /// Generations that are still to be read.
    remaining: u32,
}

impl Previous {
    pub(in super::super) fn new(
        old: Old,
        generations: Option<Generations>,
    ) -> Result<Self, PinError> {
        let epoch = match &generations {
            Some(generations) => generations.epoch(),
            None => epoch(&old.state).map_err(|source| old.state.unreadable(source))?,
        };
        // The one that is counted into, and perhaps one that was flipped away from.
        let remaining = match &generations {
            Some(generations) if generations.is_behind() => 2,
            Some(_) => 1,
            None => 0,
        };
        Ok(Self {
            old,
            generations,
            epoch,
            remaining,
        })
    }

    /// The first number that no generation of it can have.
    pub(in super::super) const fn end(&self) -> u64 {
        self.epoch + 2
    }

    /// What it says of itself, if this build can read it.
    pub(in super::super) fn meta(&self) -> Option<&Meta> {
        self.old.meta.as_deref()
    }

    /// Kernel time of its daemon's last sign of life.
    pub(in super::super) const fn heartbeat_ns(&self) -> u64 {
        self.old.head.heartbeat_ns
    }

    /// Packets that were drained and in no event when its daemon ended.
    pub(in super::super) const fn untold_packets(&self) -> u64 {
        self.old.head.untold_packets
    }

    /// Those packets have been told of.
    pub(in super::super) fn told(&mut self) -> Result<(), PinError> {
        self.old.head.untold_packets = 0;
        let Some(meta) = &mut self.old.meta else {
            return Ok(());
        };
        meta.head.untold_packets = 0;
        self.old.save()
    }

    /// Packets that it has counted and this build cannot read. To be asked once nothing counts
    /// into it any more.
    pub(in super::super) fn lost_packets(&self) -> Result<u64, PinError> {
        if self.generations.is_some() {
            return Ok(0);
        }
        unread_runs(&self.old.state, &self.old.head)
            .map_err(|source| self.old.state.unreadable(source))
    }

    /// Where its maps are pinned.
    pub(in super::super) const fn state(&self) -> &State {
        &self.old.state
    }

    /// An error of reading what is pinned of it.
    pub(in super::super) fn unreadable(&self, source: io::Error) -> PinError {
        self.old.state.unreadable(source)
    }

    /// Whether this build can read its generations.
    pub(in super::super) const fn is_readable(&self) -> bool {
        self.generations.is_some()
    }

    /// Whether nothing of it is left to be read or recorded.
    pub(in super::super) fn is_done(&self) -> bool {
        self.remaining == 0
    }

    /// Closes its next generation.
    pub(in super::super) fn close(
        &mut self,
        slots: &mut Slots,
        clock: &Clock,
    ) -> Result<&Generation, GenerationError> {
        match &mut self.generations {
            Some(generations) => generations.close(slots, clock),
            None => Err(GenerationError {
                epoch: self.epoch,
                step: "reading an earlier data plane",
                source: io::ErrorKind::Unsupported.into(),
            }),
        }
    }

    /// The generation that was read is recorded.
    pub(in super::super) fn recorded(&mut self, slots: &mut Slots) -> Result<(), GenerationError> {
        let Some(generations) = &mut self.generations else {
            return Ok(());
        };
        let Some(epoch) = generations.read() else {
            return Ok(());
        };
        if let Some(meta) = &mut self.old.meta {
            meta.head.recorded = epoch;
            self.old.save().map_err(|error| GenerationError {
                epoch,
                step: "recording how far it was read",
                source: io::Error::other(error),
            })?;
        }
        generations.recorded(slots)?;
        self.remaining = self.remaining.saturating_sub(1);
        Ok(())
    }

    /// Removes its pins.
    pub(in super::super) fn remove(self) -> Result<(), PinError> {
        self.old.state.remove()
    }
}
