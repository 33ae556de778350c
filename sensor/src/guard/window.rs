//! Rates of one destination, over windows that begin where the SYNs do.

use sensor_ebpf::abi::DestinationCounters;

const SECOND: u64 = 1_000_000_000;
/// What is judged at once: long enough that handshakes over slow paths are completed within it.
const WINDOW: u64 = SECOND;

/// What one window showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// SYNs per second.
    pub syn: u64,
    /// Completed handshakes, as a percentage of those that were begun: see [`Window::begun`].
    pub completed_percent: u64,
    /// SYNs without a listener, as a percentage.
    pub(super) no_listener_percent: u64,
    /// When the window began, kernel time.
    pub(super) since: u64,
}

/// Differences of ever-rising counters, gathered until they can be judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The latest counters, and when they were read.
    last: Option<(u64, DestinationCounters)>,
    since: u64,
    sums: DestinationCounters,
    /// It began where the rate went up, or the rate was up before.
    is_steady: bool,
}

impl Window {
    pub(super) fn new(now: u64) -> Self {
        Self {
            last: None,
            since: now,
            sums: DestinationCounters::default(),
            is_steady: false,
        }
    }

    /// Takes the counters at a time: what is new since the last call, and what the window showed
    /// if it is over. `onset` is the rate, in SYNs per second, at which a window begins: what came
    /// before would make a crowd's first handshakes look unanswered, and a flood weak.
    pub(super) fn add(
        &mut self,
        now: u64,
        counters: &DestinationCounters,
        onset: u64,
    ) -> (DestinationCounters, Option<Rates>) {
        let nothing = DestinationCounters::default();
        let Some((before, last)) = self.last.replace((now, *counters)) else {
            self.since = now;
            return (nothing, None);
        };
        let Some(new) = difference(counters, &last) else {
            // The counters began anew: so do we.
            self.since = now;
            self.sums = nothing;
            self.is_steady = false;
            return (nothing, None);
        };
        let is_up = per_second(new.syn, now.saturating_sub(before)) >= onset;
        if is_up && !self.is_steady {
            self.since = before;
            self.sums = nothing;
            self.is_steady = true;
        }
        self.sums = sum(&self.sums, &new);
        let elapsed = now.saturating_sub(self.since);
        if elapsed < WINDOW {
            return (new, None);
        }
        let syns = self.sums.syn;
        let rates = Rates {
            syn: per_second(syns, elapsed),
            completed_percent: percent(self.sums.completed, self.begun()),
            no_listener_percent: percent(self.sums.cookie_no_listener, syns),
            since: self.since,
        };
        self.since = now;
        self.sums = nothing;
        self.is_steady = rates.syn >= onset;
        (new, Some(rates))
    }

    /// Handshakes that were begun. A SYN whose retransmission was waited for, and came, began the
    /// same one as that: a crowd of real clients must not look half as real for having been made
    /// to repeat itself. That it came proves nothing more: an attacker can repeat each SYN, but
    /// without the answer complete no handshake.
    fn begun(&self) -> u64 {
        let sums = &self.sums;
        sums.syn.saturating_sub(sums.retransmission_admitted)
    }
}

fn per_second(count: u64, elapsed: u64) -> u64 {
    let rate = u128::from(count) * u128::from(SECOND) / u128::from(elapsed.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// Capped at 100: a handshake may be completed in the window after its SYN's.
fn percent(part: u64, whole: u64) -> u64 {
    (part.saturating_mul(100) / whole.max(1)).min(100)
}

/// Every field is a `u64`.
const FIELDS: usize = size_of::<DestinationCounters>() / size_of::<u64>();

/// `after - before`; `None` if any counter went backwards.
fn difference(
    after: &DestinationCounters,
    before: &DestinationCounters,
) -> Option<DestinationCounters> {
    let mut result = *after;
    let fields: &mut [u64; FIELDS] = zerocopy::transmute_mut!(&mut result);
    let earlier: &[u64; FIELDS] = zerocopy::transmute_ref!(before);
    for (field, earlier) in fields.iter_mut().zip(earlier) {
        *field = field.checked_sub(*earlier)?;
    }
    Some(result)
}

/// The sum, field by field.
pub(super) fn sum(a: &DestinationCounters, b: &DestinationCounters) -> DestinationCounters {
    let mut result = *a;
    let fields: &mut [u64; FIELDS] = zerocopy::transmute_mut!(&mut result);
    let others: &[u64; FIELDS] = zerocopy::transmute_ref!(b);
    for (field, other) in fields.iter_mut().zip(others) {
        *field = field.saturating_add(*other);
    }
    result
}
