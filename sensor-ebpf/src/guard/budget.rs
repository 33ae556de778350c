//! Budgets that all CPUs share: so many in each window. A CPU takes a share of the budget at a
//! time, so that the shared word is written rarely. What other CPUs have not used of their shares
//! when the window ends is lost: a budget is a bound and no promise.

use crate::abi::{BudgetShare, WINDOW_SHIFT};

/// The window of a time.
#[must_use]
#[inline(always)]
pub const fn window(now_ns: u64) -> u32 {
    (now_ns >> WINDOW_SHIFT) as u32
}

/// What a rate allows in one window, rounded up.
#[must_use]
#[inline(always)]
pub const fn per_window(per_second: u32) -> u32 {
    // 2^27 ns = 0.134217728 s = 140,737.5 / 2^20 s.
    ((per_second as u64 * 140_738) >> 20) as u32 + 1
}

/// What a CPU takes of a budget at once.
#[must_use]
#[inline(always)]
pub const fn share_of(limit: u32) -> u32 {
    (limit >> 6) + 1
}

/// The answer of a CPU's own share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Granted,
    /// The whole budget is spent.
    Denied,
    /// The share is used up: ask the budget for another one.
    Empty,
}

impl BudgetShare {
    /// The mark of a share where the whole budget is spent.
    const SPENT: u32 = u32::MAX;

    #[inline(always)]
    pub fn take(&mut self, window: u32) -> Share {
        if self.window != window {
            self.window = window;
            self.left = 0;
        }
        match self.left {
            Self::SPENT => Share::Denied,
            0 => Share::Empty,
            _ => {
                self.left -= 1;
                Share::Granted
            }
        }
    }

    /// Whether the whole budget of a window is known to be spent.
    #[inline(always)]
    #[must_use]
    pub fn is_spent(&self, window: u32) -> bool {
        self.window == window && self.left == Self::SPENT
    }

    /// Takes one of a new share, before which `taken` of `limit` had been given to all CPUs.
    #[inline(always)]
    pub fn refill(&mut self, taken: u32, limit: u32) -> bool {
        if taken >= limit {
            self.left = Self::SPENT;
            return false;
        }
        let share = share_of(limit);
        let rest = limit - taken;
        self.left = (if rest < share { rest } else { share }) - 1;
        true
    }
}
