//! Atomic additions, relaxed: counters order nothing. `core::sync::atomic` has none of them for
//! the BPF target, hence the intrinsics.

use core::intrinsics::{AtomicOrdering, atomic_or, atomic_xadd};

const RELAXED: AtomicOrdering = AtomicOrdering::Relaxed;

/// Adds and returns the old value.
///
/// # Safety
///
/// `at` points into a live map value and is aligned.
#[inline(always)]
pub(super) unsafe fn add(at: *mut u64, value: u64) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { atomic_xadd::<u64, u64, RELAXED>(at, value) }
}

/// [`add`] for 32 bits, without the old value.
///
/// # Safety
///
/// `at` points into a live map value and is aligned.
#[inline(always)]
pub(super) unsafe fn add32(at: *mut u32, value: u32) {
    // SAFETY: as the caller promises.
    unsafe { atomic_xadd::<u32, u32, RELAXED>(at, value) };
}

/// Sets bits.
///
/// # Safety
///
/// `at` points into a live map value and is aligned.
#[inline(always)]
pub(super) unsafe fn or(at: *mut u64, bits: u64) {
    // SAFETY: as the caller promises.
    unsafe { atomic_or::<u64, u64, RELAXED>(at, bits) };
}
