//! Token buckets of sources: one word each, in a table in which a newcomer takes the slot that its
//! hash gives it. A collision therefore lets a SYN pass and never drops one.

/// log2 of a tick in nanoseconds: 1.05 ms, of which 22 bits pass in 73 minutes.
const TICK: u32 = 20;

const TOKENS_BITS: u32 = 26;
const TOKENS_MASK: u64 = (1 << TOKENS_BITS) - 1;
const TIME_MASK: u64 = (1 << 22) - 1;

/// Parts of a token: as many as there are ticks in a second, so that a tick brings as many parts
/// as a second brings tokens.
const TOKEN: u64 = 954;

/// A source's bucket: fingerprint (16 bits), tick of the last use (22), parts of tokens (26).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket(pub u64);

impl Bucket {
    /// The number of a hash's bucket in a table of `mask + 1`.
    #[must_use]
    #[inline(always)]
    pub const fn index(hash: u64, mask: u32) -> u32 {
        (hash >> 44) as u32 & mask
    }

    /// Takes a token: the bucket afterwards, and whether there was one.
    #[must_use]
    #[inline(always)]
    pub fn take(self, hash: u64, now_ns: u64, per_second: u32, burst: u32) -> (Self, bool) {
        let fingerprint = (hash >> 28) & 0xffff;
        let now = (now_ns >> TICK) & TIME_MASK;
        let full = u64::from(burst) * TOKEN;
        let mut tokens = full;
        if self.0 >> 48 == fingerprint {
            let elapsed = now.wrapping_sub(self.0 >> TOKENS_BITS) & TIME_MASK;
            tokens = (self.0 & TOKENS_MASK) + elapsed * u64::from(per_second);
            if tokens > full {
                tokens = full;
            }
        }
        let granted = tokens >= TOKEN;
        if granted {
            tokens -= TOKEN;
        }
        let after = fingerprint << 48 | now << TOKENS_BITS | (tokens & TOKENS_MASK);
        (Self(after), granted)
    }
}
