//! A timer wheel on packet time: which flows to look at when the clock moves on.
//!
//! Flows hang in the slot of the time at which they were due when they were put there. A packet
//! does not move its flow; when a slot comes up, the owner looks at each flow's true due time and
//! puts those back that are not due yet. So a packet costs nothing here.

use crate::core::time::Timestamp;

/// A slot spans 2^30 ns, about a second.
const TICK_SHIFT: u32 = 30;
/// Flows that are due later than the wheel reaches wait in its last slot.
const SLOTS: u64 = 1024;

const NIL: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Wheel {
    /// First flow of each slot.
    heads: Vec<u32>,
    links: Vec<Link>,
    /// All slots of ticks up to this one are done with.
    tick: u64,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    /// Slot that the flow hangs in, [`NIL`] if in none.
    slot: u32,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            heads: vec![NIL; SLOTS as usize],
            links: Vec::new(),
            tick: 0,
        }
    }

    /// Whether `now` is in a later tick than the wheel's.
    #[inline]
    pub(crate) const fn is_behind(&self, now: Timestamp) -> bool {
        now.0 >> TICK_SHIFT > self.tick
    }

    /// Puts a flow where it is looked at once `due` has passed.
    pub(crate) fn schedule(&mut self, flow: u32, due: Timestamp) {
        self.cancel(flow);
        if self.links.len() <= flow as usize {
            let unlinked = Link {
                previous: NIL,
                next: NIL,
                slot: NIL,
            };
            self.links.resize(flow as usize + 1, unlinked);
        }
        let tick = (due.0 >> TICK_SHIFT).clamp(self.tick, self.tick + SLOTS - 2) + 1;
        let slot = (tick % SLOTS) as u32;
        let head = self.heads[slot as usize];
        self.links[flow as usize] = Link {
            previous: NIL,
            next: head,
            slot,
        };
        if head != NIL {
            self.links[head as usize].previous = flow;
        }
        self.heads[slot as usize] = flow;
    }

    /// Takes a flow out.
    pub(crate) fn cancel(&mut self, flow: u32) {
        let Some(link) = self.links.get_mut(flow as usize) else {
            return;
        };
        let Link {
            previous,
            next,
            slot,
        } = *link;
        if slot == NIL {
            return;
        }
        link.slot = NIL;
        if previous == NIL {
            self.heads[slot as usize] = next;
        } else {
            self.links[previous as usize].next = next;
        }
        if next != NIL {
            self.links[next as usize].previous = previous;
        }
    }

    /// Moves a flow to where it belongs; false if it hangs there already.
    pub(crate) fn put_back(&mut self, flow: u32, due: Timestamp) -> bool {
        let slot_of = |wheel: &Self| wheel.links.get(flow as usize).map(|link| link.slot);
        let before = slot_of(self);
        self.schedule(flow, due);
        slot_of(self) != before
    }

    /// Moves on to `now` and takes out all flows of the slots that came up.
    pub(crate) fn turn(&mut self, now: Timestamp, due: &mut Vec<u32>) {
        let target = now.0 >> TICK_SHIFT;
        if target <= self.tick {
            return;
        }
        for tick in 1..=(target - self.tick).min(SLOTS) {
            let slot = ((self.tick + tick) % SLOTS) as u32;
            while self.heads[slot as usize] != NIL {
                let flow = self.heads[slot as usize];
                self.cancel(flow);
                due.push(flow);
            }
        }
        self.tick = target;
    }

    /// A flow of the slot that comes up first, for eviction.
    pub(crate) fn first(&self) -> Option<u32> {
        (1..=SLOTS)
            .map(|tick| self.heads[((self.tick + tick) % SLOTS) as usize])
            .find(|head| *head != NIL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1 << TICK_SHIFT;

    fn turned(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.turn(Timestamp(now), &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn flows_come_up_after_their_time_and_once() {
        let mut wheel = Wheel::new();
        assert!(turned(&mut wheel, 1_000 * SECOND).is_empty());
        wheel.schedule(7, Timestamp(1_060 * SECOND));
        wheel.schedule(8, Timestamp(1_060 * SECOND + 5));
        wheel.schedule(3, Timestamp(1_600 * SECOND));
        assert!(turned(&mut wheel, 1_060 * SECOND).is_empty());
        assert_eq!(turned(&mut wheel, 1_061 * SECOND), [7, 8]);
        assert!(turned(&mut wheel, 1_599 * SECOND).is_empty());
        assert_eq!(turned(&mut wheel, 9_999 * SECOND), [3]);
        assert!(turned(&mut wheel, 99_999 * SECOND).is_empty());
    }

    #[test]
    fn cancelling_and_moving_keep_the_lists_whole() {
        let mut wheel = Wheel::new();
        for flow in 0..10 {
            wheel.schedule(flow, Timestamp(30 * SECOND));
        }
        for flow in [0, 9, 4] {
            wheel.cancel(flow);
            wheel.cancel(flow);
        }
        wheel.schedule(5, Timestamp(60 * SECOND));
        assert_eq!(turned(&mut wheel, 40 * SECOND), [1, 2, 3, 6, 7, 8]);
        assert_eq!(wheel.first(), Some(5));
        assert_eq!(turned(&mut wheel, 70 * SECOND), [5]);
        assert_eq!(wheel.first(), None);
    }

    #[test]
    fn times_in_the_past_and_far_ahead_come_up() {
        let mut wheel = Wheel::new();
        assert!(turned(&mut wheel, 5_000 * SECOND).is_empty());
        wheel.schedule(1, Timestamp(0));
        wheel.schedule(2, Timestamp(u64::MAX));
        assert_eq!(turned(&mut wheel, 5_001 * SECOND), [1]);
        // Looked at early, by the horizon: the owner puts it back.
        assert_eq!(turned(&mut wheel, 5_000 * SECOND + SLOTS * SECOND), [2]);
    }
}
