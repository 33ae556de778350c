use super::{Endian, options::options};
use crate::core::time::Timestamp;

const IF_TSRESOL: u16 = 9;
const IF_FCSLEN: u16 = 13;
const IF_TSOFFSET: u16 = 14;

/// One interface description block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface {
    pub(super) link: u32,
    /// Most bytes kept of a packet, 0 for all. Only simple packet blocks need it: files lie.
    pub(super) snaplen: u32,
    /// Bytes of frame check sequence at the end of frames.
    pub(super) fcs_len: u32,
    clock: Clock,
    /// Seconds to add to every timestamp.
    offset: i64,
}

/// What one tick of the 64-bit timestamps is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// So many nanoseconds.
    Multiple(u64),
    /// So many ticks are a nanosecond.
    Fraction(u64),
    /// 2^-n seconds.
    Binary(u32),
    /// Finer than 10^-28 seconds: a 64-bit count of them is less than a nanosecond.
    Stopped,
}

impl Interface {
    /// Reads a block's body; `None` if it is too short.
    pub(super) fn parse(body: &[u8], endian: Endian) -> Option<Self> {
        let link = endian.u16(body, 0)?;
        let snaplen = endian.u32(body, 4)?;
        let (mut clock, mut offset, mut fcs_len) = (Clock::Multiple(1000), 0, 0);
        for (code, value) in options(&body[8..], endian) {
            match (code, value.len()) {
                (IF_TSRESOL, 1) => clock = Clock::from_tsresol(value[0]),
                (IF_TSOFFSET, 8) => offset = endian.u64(value, 0)?.cast_signed(),
                // In bits, as the specification has it.
                (IF_FCSLEN, 1) => fcs_len = u32::from(value[0]) / 8,
                _ => {}
            }
        }
        Some(Self {
            link: link.into(),
            snaplen,
            fcs_len,
            clock,
            offset,
        })
    }

    /// The time that `ticks` stand for; what a [`Timestamp`] cannot hold becomes its nearest.
    #[inline]
    pub(super) fn time(&self, ticks: u64) -> Timestamp {
        let since = match self.clock {
            Clock::Multiple(unit) if self.offset == 0 => {
                return Timestamp(ticks.saturating_mul(unit));
            }
            Clock::Multiple(unit) => u128::from(ticks) * u128::from(unit),
            Clock::Fraction(unit) => u128::from(ticks / unit),
            Clock::Binary(bits) => (u128::from(ticks) * 1_000_000_000) >> bits,
            Clock::Stopped => 0,
        };
        // Below 2^64 * 10^9: fits.
        let offset = i128::from(self.offset) * 1_000_000_000;
        let nanoseconds = (since.cast_signed() + offset).clamp(0, i128::from(u64::MAX));
        Timestamp(nanoseconds as u64)
    }
}

impl Clock {
    fn from_tsresol(value: u8) -> Self {
        let exponent = u32::from(value & 0x7f);
        match (value & 0x80 != 0, exponent) {
            (true, bits) => Self::Binary(bits),
            (false, 0..=9) => Self::Multiple(10_u64.pow(9 - exponent)),
            (false, 10..=28) => Self::Fraction(10_u64.pow(exponent - 9)),
            (false, _) => Self::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(tsresol: u8, offset: i64) -> Interface {
        let clock = Clock::from_tsresol(tsresol);
        Interface {
            link: 1,
            snaplen: 0,
            fcs_len: 0,
            clock,
            offset,
        }
    }

    #[test]
    fn resolutions() {
        assert_eq!(interface(6, 0).time(1_500_000).0, 1_500_000_000);
        assert_eq!(interface(9, 0).time(1_500_000).0, 1_500_000);
        assert_eq!(interface(0, 0).time(3).0, 3_000_000_000);
        assert_eq!(interface(12, 0).time(1_999).0, 1);
        assert_eq!(interface(0x80 | 10, 0).time(1536).0, 1_500_000_000);
        assert_eq!(interface(0x80, 0).time(2).0, 2_000_000_000);
        assert_eq!(interface(29, 0).time(u64::MAX).0, 0);
        assert_eq!(interface(0xff, 0).time(u64::MAX).0, 0);
    }

    #[test]
    fn offsets_reach_before_the_epoch_and_beyond_the_end() {
        assert_eq!(interface(6, 1).time(1).0, 1_000_001_000);
        assert_eq!(interface(6, -1).time(2_000_000).0, 1_000_000_000);
        assert_eq!(interface(6, i64::MIN).time(5).0, 0);
        assert_eq!(interface(0, i64::MAX).time(u64::MAX).0, u64::MAX);
        assert_eq!(interface(0, 0).time(u64::MAX).0, u64::MAX);
    }
}
