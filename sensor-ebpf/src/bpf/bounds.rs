//! Lengths as the verifier wants them.

/// `len`, of which the caller knows that it is from 1 to `max`, a power of two, in a way that the
/// verifier knows it, too, that of Linux 6.1 included: there no branch tells that a number is not 0,
/// and of one of 32 bits that LLVM keeps on the stack the bounds are forgotten. Any other length
/// becomes one within the bounds.
#[inline(always)]
pub(super) fn length(len: usize, max: usize) -> u32 {
    let last = (len as u64).wrapping_sub(1);
    // A volatile read makes LLVM forget what it knows, by which it would leave out the mask.
    // SAFETY: `last` is a live local variable.
    let last = unsafe { (&raw const last).read_volatile() };
    (last & (max as u64 - 1)) as u32 + 1
}
