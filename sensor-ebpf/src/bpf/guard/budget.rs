//! Budgets that all CPUs share; `sensor_ebpf::guard::budget` tells how.

use sensor_ebpf::guard::budget::{self, Share};

use super::super::{
    atomic,
    maps::{BUDGET_SHARES, BUDGETS},
};

/// Of the SYN-ACKs that the host sends.
pub(super) const SYN_ACKS: u32 = 0;

/// Of the SYNs that pass to the destination in a slot.
#[inline(always)]
pub(super) const fn of_syns(slot: u32) -> u32 {
    1 + 2 * slot
}

/// Of the segments without connection that pass to the destination in a slot.
#[inline(always)]
pub(super) const fn of_strays(slot: u32) -> u32 {
    2 + 2 * slot
}

/// Takes one of a budget of so many a second; 0 is no limit.
#[inline(always)]
pub(super) fn take(index: u32, per_second: u32, now_ns: u64) -> bool {
    if per_second == 0 {
        return true;
    }
    // No index is out of bounds.
    try_take(index, per_second, now_ns).unwrap_or(true)
}

/// Whether this CPU knows that a budget is spent: [`take`] would refuse.
#[inline(always)]
pub(super) fn is_spent(index: u32, per_second: u32, now_ns: u64) -> bool {
    if per_second == 0 {
        return false;
    }
    match BUDGET_SHARES.get_ptr_mut(index) {
        // SAFETY: this CPU's value.
        Some(share) => unsafe { (*share).is_spent(budget::window(now_ns)) },
        None => false,
    }
}

#[inline(always)]
fn try_take(index: u32, per_second: u32, now_ns: u64) -> Option<bool> {
    // SAFETY: this CPU's value.
    let share = unsafe { &mut *BUDGET_SHARES.get_ptr_mut(index)? };
    let window = budget::window(now_ns);
    match share.take(window) {
        Share::Granted => return Some(true),
        Share::Denied => return Some(false),
        Share::Empty => {}
    }
    let limit = budget::per_window(per_second);
    // The high half is the window, the low half what of the budget was taken in it.
    let shared = BUDGETS.get_ptr_mut(index)?;
    // SAFETY: a live map value, changed atomically.
    let before = unsafe {
        let found = shared.read_volatile();
        if (found >> 32) as u32 != window {
            atomic::replace(shared, found, u64::from(window) << 32);
        }
        atomic::fetch_add(shared, budget::share_of(limit).into())
    };
    // Another CPU may be a window ahead or behind for an instant: its share is as good.
    Some(share.refill(before as u32, limit))
}
