//! What the samples of a flow tell of those that were not taken.

use crate::core::flow::Live;
use crate::core::frame::Sample;
use crate::core::proto::Side;

impl Live {
    /// Whether a packet that crosses the device in `direction` has crossed it before in the other
    /// one, as on a loopback device.
    pub(super) const fn crosses_again(&mut self, side: Side, direction: u8) -> bool {
        let seen = &mut self.direction[side as usize];
        if *seen == 0 {
            *seen = direction + 1;
        }
        *seen != direction + 1
    }

    /// Whether a sample is its side's next packet, none left out between; notes it.
    pub(super) fn follows(&mut self, side: Side, sample: Sample) -> bool {
        let segments = u64::from(sample.segments.max(1));
        // Nothing is known to follow what has no number.
        let next = match sample.number {
            0 => 0,
            number => number.saturating_add(segments),
        };
        let expected = &mut self.expected[side as usize];
        if let Some(counted_for) = sample.counted_for {
            // The number is that of the flow around this one: if the next packet there was one of
            // this flow, too, nothing was left out.
            let epoch = sample.epoch ^ counted_for;
            let follows = sample.number != 0 && *expected == (epoch, sample.number);
            *expected = (epoch, next);
            return follows;
        }
        let follows = sample.number != 0 && *expected == (sample.epoch, sample.number);
        if self.began == 0 {
            self.began = sample.epoch;
        }
        let before = &mut self.before[side as usize];
        if before.is_none() && sample.number != 0 && self.began == sample.epoch {
            *before = Some(sample.number - 1);
        }
        *expected = (sample.epoch, next);
        self.sampled = if sample.epoch > self.sampled {
            sample.epoch
        } else {
            self.sampled
        };
        follows
    }
}
