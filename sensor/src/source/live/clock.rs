//! Kernel time to wall time.
//!
//! BPF programs stamp records and flows with `CLOCK_MONOTONIC`, which never steps. Events carry
//! wall time, which does: by hand, by NTP at start-up, by a resumed virtual machine. [`Clock`]
//! maps the one to the other, and its mapping **never decreases**, so that no flow can end before
//! it starts and no later packet gets an earlier time:
//!
//! * a step forward takes effect at the kernel time at which it was noticed; earlier kernel times
//!   keep the wall time that was right for them;
//! * a step backward cannot be followed at once without going backwards: from then on mapped time
//!   passes at half speed until real time has caught up. [`Clock::ahead_ns`] says how far mapped
//!   time is in front of the wall clock meanwhile.
//!
//! The last few steps are remembered, since a drain brings times that are up to one generation old.

use std::collections::VecDeque;

use crate::core::time::Timestamp;

/// Deviations below this are the noise of reading two clocks one after the other.
const TOLERANCE_NS: u64 = 100_000;

/// Steps that are remembered for times before the newest.
const SEGMENTS: usize = 8;

/// Readings of which the tightest is taken.
const READINGS: usize = 5;

/// Kernel time and wall time at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub kernel_ns: u64,
    /// `CLOCK_REALTIME`, nanoseconds since the Unix epoch.
    pub wall_ns: u64,
    /// By how much the two may have been read at different times.
    pub uncertainty_ns: u64,
}

impl Measurement {
    /// Reads both clocks, several times, and takes the reading with the least uncertainty.
    #[must_use]
    pub fn take() -> Self {
        let read = |()| {
            let before = read_clock(libc::CLOCK_MONOTONIC);
            let wall_ns = read_clock(libc::CLOCK_REALTIME);
            let after = read_clock(libc::CLOCK_MONOTONIC);
            let half = after.saturating_sub(before) / 2;
            Self {
                kernel_ns: before + half,
                wall_ns,
                uncertainty_ns: half,
            }
        };
        let first = read(());
        (1..READINGS).map(|_| read(())).fold(first, |best, next| {
            if next.uncertainty_ns < best.uncertainty_ns {
                next
            } else {
                best
            }
        })
    }
}

/// Kernel time now: what `bpf_ktime_get_ns` gives, nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC)
}

fn read_clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the duration of the call. With a clock that every
    // Linux has the call cannot fail; if it did, `time` would stay 0.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanos
}

/// From `start_ns` of kernel time on, mapped time is `wall_ns` and passes at half speed until
/// `ahead_ns` have been given back to the wall clock.
#[derive(Clone, Copy, Debug)]
struct Segment {
    start_ns: u64,
    wall_ns: u64,
    ahead_ns: u64,
}

impl Segment {
    fn mapped(&self, kernel_ns: u64) -> u64 {
        match kernel_ns.checked_sub(self.start_ns) {
            None => self.wall_ns.saturating_sub(self.start_ns - kernel_ns),
            Some(passed) => self.wall_ns.saturating_add(passed) - self.given_back(passed),
        }
    }

    /// The wall clock, if it has not stepped since.
    fn wall(&self, kernel_ns: u64) -> u64 {
        let passed = kernel_ns.saturating_sub(self.start_ns);
        self.wall_ns
            .saturating_add(passed)
            .saturating_sub(self.ahead_ns)
    }

    fn given_back(&self, passed: u64) -> u64 {
        passed.div_ceil(2).min(self.ahead_ns)
    }
}

/// The one mapping of kernel time to wall time. See the [module](self) for how steps are followed.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Older ones that are still asked for, oldest first.
    segments: VecDeque<Segment>,
    newest: Segment,
    steps: u64,
}

impl Clock {
    /// Measures the mapping for the first time.
    #[must_use]
    pub fn start() -> Self {
        Self::from_measurement(Measurement::take())
    }

    /// A clock from a given first measurement.
    #[must_use]
    pub fn from_measurement(at: Measurement) -> Self {
        let newest = Segment {
            start_ns: at.kernel_ns,
            wall_ns: at.wall_ns,
            ahead_ns: 0,
        };
        Self {
            segments: VecDeque::new(),
            newest,
            steps: 0,
        }
    }

    /// Measures again. Cheap enough for every turn of an event loop. Returns whether the wall
    /// clock had stepped.
    pub fn follow(&mut self) -> bool {
        self.adjust(Measurement::take())
    }

    /// [`Clock::follow`] with a given measurement.
    pub fn adjust(&mut self, at: Measurement) -> bool {
        let expected = self.newest.wall(at.kernel_ns);
        if at.wall_ns.abs_diff(expected) <= TOLERANCE_NS.max(2 * at.uncertainty_ns) {
            return false;
        }
        let mapped = self.newest.mapped(at.kernel_ns);
        if self.segments.len() == SEGMENTS {
            self.segments.pop_front();
        }
        self.segments.push_back(self.newest);
        self.newest = Segment {
            start_ns: at.kernel_ns,
            wall_ns: mapped.max(at.wall_ns),
            ahead_ns: mapped.saturating_sub(at.wall_ns),
        };
        self.steps += 1;
        true
    }

    /// The wall time of a kernel time. Does not decrease as `kernel_ns` grows, and once given for
    /// a time that is not in the future stays the same for it.
    #[must_use]
    pub fn wall(&self, kernel_ns: u64) -> Timestamp {
        let segment = if kernel_ns >= self.newest.start_ns {
            &self.newest
        } else {
            let earlier = self.segments.iter().rev();
            earlier
                .clone()
                .find(|segment| segment.start_ns <= kernel_ns)
                .or_else(|| self.segments.front())
                .unwrap_or(&self.newest)
        };
        Timestamp(segment.mapped(kernel_ns))
    }

    /// How often the wall clock has stepped.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// By how much mapped time is in front of the wall clock at `kernel_ns`, after a step back.
    #[must_use]
    pub fn ahead_ns(&self, kernel_ns: u64) -> u64 {
        let passed = kernel_ns.saturating_sub(self.newest.start_ns);
        self.newest.ahead_ns - self.newest.given_back(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(kernel_ns: u64, wall_ns: u64) -> Measurement {
        Measurement {
            kernel_ns,
            wall_ns,
            uncertainty_ns: 50,
        }
    }

    #[test]
    fn maps_by_the_offset() {
        let clock = Clock::from_measurement(at(10 * SECOND, 1000 * SECOND));
        assert_eq!(clock.wall(12 * SECOND), Timestamp(1002 * SECOND));
        assert_eq!(clock.wall(9 * SECOND), Timestamp(999 * SECOND));
    }

    #[test]
    fn noise_is_no_step() {
        let mut clock = Clock::from_measurement(at(10 * SECOND, 1000 * SECOND));
        assert!(!clock.adjust(at(11 * SECOND, 1001 * SECOND + TOLERANCE_NS)));
        assert_eq!(clock.steps(), 0);
        assert_eq!(clock.wall(11 * SECOND), Timestamp(1001 * SECOND));
    }

    #[test]
    fn a_preempted_reading_is_no_step() {
        let mut clock = Clock::from_measurement(at(10 * SECOND, 1000 * SECOND));
        let preempted = Measurement {
            uncertainty_ns: SECOND,
            ..at(11 * SECOND, 1002 * SECOND)
        };
        assert!(!clock.adjust(preempted));
    }

    #[test]
    fn a_step_forward_leaves_the_past_alone() {
        let mut clock = Clock::from_measurement(at(10 * SECOND, 1000 * SECOND));
        assert!(clock.adjust(at(20 * SECOND, 5000 * SECOND)));
        assert_eq!(clock.wall(19 * SECOND), Timestamp(1009 * SECOND));
        assert_eq!(clock.wall(21 * SECOND), Timestamp(5001 * SECOND));
        assert_eq!(clock.ahead_ns(21 * SECOND), 0);
    }

    #[test]
    fn a_step_backward_is_caught_up_with_at_half_speed() {
        let mut clock = Clock::from_measurement(at(10 * SECOND, 1000 * SECOND));
        // At 20 s the wall clock should say 1010 and says 1000.
        assert!(clock.adjust(at(20 * SECOND, 1000 * SECOND)));
        assert_eq!(clock.wall(20 * SECOND), Timestamp(1010 * SECOND));
        assert_eq!(clock.ahead_ns(20 * SECOND), 10 * SECOND);
        assert_eq!(clock.wall(30 * SECOND), Timestamp(1015 * SECOND));
        // Caught up after twice the step: 1020 on both clocks.
        assert_eq!(clock.wall(40 * SECOND), Timestamp(1020 * SECOND));
        assert_eq!(clock.ahead_ns(40 * SECOND), 0);
        assert_eq!(clock.wall(45 * SECOND), Timestamp(1025 * SECOND));
        assert!(!clock.adjust(at(45 * SECOND, 1025 * SECOND)));
    }

    proptest::proptest! {
        #[test]
        fn mapped_time_never_decreases(
            steps in proptest::collection::vec((1..100 * SECOND, 0..10_000 * SECOND), 0..12),
            mut times in proptest::collection::vec(0..2000 * SECOND, 2..64),
        ) {
            let mut clock = Clock::from_measurement(at(100 * SECOND, 5000 * SECOND));
            let mut now = 100 * SECOND;
            let mut given = Vec::new();
            for (passed, wall) in steps {
                given.push((now, clock.wall(now)));
                now += passed;
                clock.adjust(at(now, wall));
            }
            times.sort_unstable();
            let mapped: Vec<_> = times.iter().map(|&time| clock.wall(time)).collect();
            proptest::prop_assert!(mapped.is_sorted());
            // The steps that are still remembered did not change what was said before them.
            for &(time, before) in given.iter().rev().take(SEGMENTS) {
                proptest::prop_assert_eq!(clock.wall(time), before);
            }
        }
    }
}
