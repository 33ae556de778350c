//! The sources that a CPU blocked last.
//!
//! Who is blocked goes on sending, and packet after packet meets the same entry. What that entry
//! said holds until the lists change or its time is over: the source need not be looked up again.

use sensor_ebpf::abi::{DropReason, FlowKey, ListEntry, list_flags};

/// Bits of a place's number: 64 places, 2.5 KiB of the first-level cache.
const PLACES_LOG2: u32 = 6;
const PLACES: usize = 1 << PLACES_LOG2;

/// What one CPU remembers. Sources that share a place displace each other, at the price of a
/// look-up in the lists.
#[repr(C)]
pub(super) struct LastBlocked([Place; PLACES]);

/// One source; all zeros for none.
#[repr(C)]
pub(super) struct Place {
    source: [u64; 2],
    /// When the entry ends by itself, `CLOCK_MONOTONIC` in nanoseconds.
    until_ns: u64,
    /// Of the lists that hold the entry; never 0.
    generation: u32,
    /// Index into `LIST_HITS`.
    pub(super) hits: u32,
    is_prefix: u64,
}

impl LastBlocked {
    /// The place of a packet's source.
    #[inline(always)]
    pub(super) fn place(&mut self, key: &FlowKey) -> &mut Place {
        let [high, low, ..] = key.words();
        let hash = (high ^ low).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &mut self.0[(hash >> (u64::BITS - PLACES_LOG2)) as usize % PLACES]
    }
}

impl Place {
    /// Whether the packet's source is remembered here, and blocked now by these lists.
    #[inline(always)]
    pub(super) fn holds(&self, key: &FlowKey, generation: u32, now_ns: u64) -> bool {
        let [high, low, ..] = key.words();
        self.source == [high, low] && self.generation == generation && self.until_ns > now_ns
    }

    /// Remembers that `entry`, of the lists of `generation`, blocks the packet's source.
    #[inline(always)]
    pub(super) fn remember(&mut self, key: &FlowKey, generation: u32, entry: &ListEntry) {
        let [high, low, ..] = key.words();
        *self = Self {
            source: [high, low],
            until_ns: entry.block_until_ns,
            generation,
            hits: entry.block_hits,
            is_prefix: u64::from(entry.flags & list_flags::BLOCKS_PREFIX),
        };
    }

    #[inline(always)]
    pub(super) fn reason(&self) -> DropReason {
        if self.is_prefix == 0 {
            DropReason::BlockAddress
        } else {
            DropReason::BlockPrefix
        }
    }
}
