//! What the verifier is not to know.

/// The same number, of which the verifier knows nothing: it follows each way through a program with
/// all that it knows by then, and ways that differ in a number alone meet again behind this. Two
/// instructions in the kernel, none elsewhere.
#[inline(always)]
#[must_use]
pub(crate) fn hide(number: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    let number = {
        let mut number = number;
        // SAFETY: swaps all bytes twice, which the verifier does not see through.
        unsafe {
            core::arch::asm!(
                "{0} = be64 {0}",
                "{0} = be64 {0}",
                inout(reg) number,
                options(pure, nomem, preserves_flags),
            );
        }
        number
    };
    number
}
