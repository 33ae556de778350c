//! Atomic additions: counters order nothing. `core::sync::atomic` has none of them for
//! the BPF target, hence the intrinsics.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_or, atomic_xadd};

const RELAXED: AtomicOrdering = AtomicOrdering::Relaxed;

/// Adds and returns the old value.
///
/// Not relaxed: of a relaxed addition LLVM makes the instruction that fetches nothing, even where
/// the result is used, and the operand takes its place.
///
/// # Safety
///
/// `at` points into a live map value and is aligned.
#[inline(always)]
pub(super) unsafe fn fetch_add(at: *mut u64, value: u64) -> u64 {
    const FETCHING: AtomicOrdering = AtomicOrdering::AcqRel;
    // SAFETY: as the caller promises.
    unsafe { atomic_xadd::<u64, u64, FETCHING>(at, value) }
}

/// Adds.
///
/// # Safety
///
/// `at` points into a live map value and is aligned.
#[inline(always)]
pub(super) unsafe fn add(at: *mut u64, value: u64) {
    // SAFETY: as the caller promises.
    unsafe { atomic_xadd::<u64, u64, RELAXED>(at, value) };
}

/// [`add`] for 32 bits.
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

/// Puts `new` where `old` still stands; whether it did.
///
/// # Safety
///
/// `at` points into a live map value and is aligned.
#[inline(always)]
pub(super) unsafe fn replace(at: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::AcqRel }, { AtomicOrdering::Acquire }>(at, old, new).1
    }
}
