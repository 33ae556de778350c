//! The flow table of a generation: sets of slots in an array, and a spill table behind them.
//!
//! A hash of the key chooses a set and the slot in it that is tried first. Where all slots of a
//! set are taken, the flow goes to the spill table. A slot belongs to the generation whose number
//! it bears: one that bears another number is free, so that nobody has to clear a table.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{FlowEntry, FlowKey};

/// Slots of a set. Together they lie within a page.
pub const WAYS: usize = 4;

/// Slots that one word of `FLOWS_USED` tells of.
pub const SLOTS_PER_WORD: usize = 64;

/// Sets that one word of `FLOWS_USED` tells of.
pub const SETS_PER_WORD: u32 = (SLOTS_PER_WORD / WAYS) as u32;

/// Room for one flow, 128 bytes: two cache lines, of which the first tells whether the flow is
/// the one that is looked for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FlowSlot {
    /// A [`SlotTag`]; the rest has a meaning only if it is that of an open generation.
    pub tag: u64,
    pub key: FlowKey,
    pub entry: FlowEntry,
    _pad: u64,
}

const _: () = assert!(size_of::<FlowSlot>() == 128);

/// Value of `FLOWS`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FlowSet {
    pub slots: [FlowSlot; WAYS],
}

/// Whose a slot is: the generation in the high half, 31 bits of the key's hash, and lowest
/// whether key and entry are complete. A slot without that bit is being filled by some CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotTag(pub u64);

impl SlotTag {
    const READY: u64 = 1;

    /// Of a complete slot.
    #[must_use]
    #[inline(always)]
    pub const fn ready(epoch: u64, hash: u64) -> Self {
        Self(epoch << 32 | (hash & 0xffff_ffff) | Self::READY)
    }

    /// Of the same slot while it is filled; one more makes it complete.
    #[must_use]
    #[inline(always)]
    pub const fn filling(self) -> Self {
        Self(self.0 - Self::READY)
    }

    #[must_use]
    #[inline(always)]
    pub const fn is_ready(self) -> bool {
        self.0 & Self::READY != 0
    }

    /// Whether the slot is taken in the generation `epoch`. Numbers of generations are compared
    /// modulo 2^32, which come back after a century.
    #[must_use]
    #[inline(always)]
    pub const fn is_of(self, epoch: u64) -> bool {
        (self.0 >> 32) as u32 == epoch as u32
    }
}

/// The set of a key with this hash, of so many sets: the hash's high half as a fraction of them.
#[must_use]
#[inline(always)]
pub const fn set_of(hash: u64, sets: u32) -> u32 {
    (((hash >> 32) * sets as u64) >> 32) as u32
}

/// Sizes of the tables for a number of flows that they shall hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Sets of one generation, a multiple of [`SETS_PER_WORD`].
    pub sets: u32,
    /// Entries of one generation's spill table.
    pub spill: u32,
}

impl TableSize {
    /// For `flows` flows in a generation. There are three slots for two flows. Chance fills some
    /// sets sooner than others: at `flows` flows 8 % of them meet a full set (the excess over 4
    /// of a Poisson distribution with mean 8/3), and the spill table has room for half as many
    /// again.
    #[must_use]
    pub const fn of(flows: u32) -> Self {
        let slots = (flows as u64 * 3).div_ceil(2);
        let words = slots.div_ceil(SLOTS_PER_WORD as u64) as u32;
        let spill = flows / 8;
        Self {
            sets: words * SETS_PER_WORD,
            // Where few flows are expected, chance has more to say.
            spill: if spill < 128 { 128 } else { spill },
        }
    }

    /// Flows that a generation can hold if they happen to fill every set.
    #[must_use]
    pub const fn room(self) -> u64 {
        self.sets as u64 * WAYS as u64 + self.spill as u64
    }

    /// Words of `FLOWS_USED` for one generation.
    #[must_use]
    pub const fn words(self) -> u32 {
        self.sets / SETS_PER_WORD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_generation_hash_and_completeness() {
        let ready = SlotTag::ready(7, 0x1234_5678_9abc_def0);
        assert_eq!(ready.0, 0x0000_0007_9abc_def1);
        assert!(ready.is_ready() && ready.is_of(7) && !ready.is_of(8));
        let filling = ready.filling();
        assert!(!filling.is_ready() && filling.is_of(7));
        assert_eq!(filling.0 + 1, ready.0);
        // A fresh table is of no generation: they count from 1.
        assert!(!SlotTag(0).is_of(1));
    }

    #[test]
    fn sets_come_in_whole_words_and_hold_what_they_should() {
        for flows in [1, 64, 1000, 65_536, 262_144, 16_777_216] {
            let size = TableSize::of(flows);
            assert_eq!(size.words() * SETS_PER_WORD, size.sets);
            assert!(size.room() >= u64::from(flows) * 3 / 2);
        }
        assert_eq!(
            TableSize::of(65_536),
            TableSize {
                sets: 24_576,
                spill: 8192
            }
        );
    }

    #[test]
    fn every_set_is_chosen() {
        let sets = 48;
        let mut chosen: Vec<_> = (0..sets)
            .map(|at| set_of((u64::from(at) << 32).div_ceil(u64::from(sets)) << 32, sets))
            .collect();
        chosen.push(set_of(u64::MAX, sets));
        chosen.dedup();
        assert_eq!(chosen, (0..sets).collect::<Vec<_>>());
    }
}
