//! A filter that remembers when it met something, for a while: blocks of one cache line, in each
//! of which the newest takes the oldest's place.
//!
//! A flood fills every block, so an entry survives until [`SLOTS`] others have come to its block;
//! `docs/dataplane.md` has the figures. All CPUs share the blocks without locks: of two that meet
//! in one block one may lose what it wrote, which costs a client one more retransmission.

/// Entries of a block.
pub const SLOTS: usize = 15;

/// One cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct FilterBlock {
    /// Where the next entry goes.
    cursor: u32,
    /// The high 20 bits are a fingerprint, the low 12 the tick at which it was written.
    slots: [u32; SLOTS],
}

/// Which block and entry a hash belongs to, at which time.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The block's number.
    pub block: u32,
    entry: u32,
}

/// What a filter knew of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// Nothing, or it is too long ago. It is known from now on.
    First,
    /// It was met, but only just.
    Early,
    /// It was met at a time within the limits.
    Again,
}

const TICK_MASK: u32 = 0x0fff;

/// log2 of a tick in nanoseconds for SYNs: 67 ms, of which 12 bits pass in 275 s.
pub const SYN_TICK: u32 = 26;

/// The same for clients: 1.07 s, and 73 minutes.
pub const CLIENT_TICK: u32 = 30;

/// Milliseconds as ticks of [`SYN_TICK`], rounded down.
#[must_use]
#[inline(always)]
pub const fn syn_ticks(milliseconds: u32) -> u32 {
    ((milliseconds as u64 * 1_000_000) >> SYN_TICK) as u32
}

/// Seconds as ticks of [`CLIENT_TICK`], rounded down.
#[must_use]
#[inline(always)]
pub const fn client_ticks(seconds: u32) -> u32 {
    ((seconds as u64 * 1_000_000_000) >> CLIENT_TICK) as u32
}

impl Place {
    /// In a filter of `mask + 1` blocks, a power of two of at most 2^19.
    #[must_use]
    #[inline(always)]
    pub const fn of(hash: u64, mask: u32, now_ns: u64, tick: u32) -> Self {
        // The highest bits of the hash are its best; block and fingerprint share none.
        Self {
            block: (hash >> 45) as u32 & mask,
            entry: ((hash >> 13) as u32 & !TICK_MASK) | ((now_ns >> tick) as u32 & TICK_MASK),
        }
    }

    /// Brings a block from memory, without waiting for it.
    ///
    /// # Safety
    ///
    /// `block` is one of a filter's.
    #[inline(always)]
    pub unsafe fn fetch(block: *const FilterBlock) {
        // SAFETY: as the caller promises. A volatile read is made although nothing uses it.
        unsafe { (&raw const (*block).cursor).read_volatile() };
    }

    /// Looks the entry up, of which the age has to be `min` to `max` ticks, and writes it where it
    /// is missing or too old.
    ///
    /// # Safety
    ///
    /// `block` is that of this place.
    #[must_use]
    #[inline(always)]
    pub unsafe fn meet(self, block: *mut FilterBlock, min: u32, max: u32) -> Met {
        // SAFETY: as the caller promises; other CPUs may write at the same time.
        unsafe {
            for slot in 0..SLOTS {
                let at = (&raw mut (*block).slots).cast::<u32>().add(slot);
                let found = at.read_volatile();
                if found ^ self.entry > TICK_MASK {
                    continue;
                }
                let age = self.entry.wrapping_sub(found) & TICK_MASK;
                if age > max {
                    at.write_volatile(self.entry);
                    return Met::First;
                }
                return if age < min { Met::Early } else { Met::Again };
            }
            self.insert(block);
        }
        Met::First
    }

    /// Whether the entry is there and at most `max` ticks old; it is as new as now afterwards.
    ///
    /// # Safety
    ///
    /// `block` is that of this place.
    #[must_use]
    #[inline(always)]
    pub unsafe fn refresh(self, block: *mut FilterBlock, max: u32) -> bool {
        // SAFETY: as the caller promises; other CPUs may write at the same time.
        unsafe {
            for slot in 0..SLOTS {
                let at = (&raw mut (*block).slots).cast::<u32>().add(slot);
                let found = at.read_volatile();
                if found ^ self.entry > TICK_MASK {
                    continue;
                }
                let age = self.entry.wrapping_sub(found) & TICK_MASK;
                if age > max {
                    return false;
                }
                if age != 0 {
                    at.write_volatile(self.entry);
                }
                return true;
            }
        }
        false
    }

    /// Writes the entry in the place of the block's oldest.
    ///
    /// # Safety
    ///
    /// `block` is that of this place.
    #[inline(always)]
    pub unsafe fn insert(self, block: *mut FilterBlock) {
        // SAFETY: as the caller promises; the index is within bounds, whatever the cursor.
        unsafe {
            let mut cursor = (&raw const (*block).cursor).read_volatile();
            if cursor >= SLOTS as u32 {
                cursor = 0;
            }
            (&raw mut (*block).cursor).write_volatile(cursor + 1);
            (&raw mut (*block).slots)
                .cast::<u32>()
                .add(cursor as usize)
                .write_volatile(self.entry);
        }
    }
}
