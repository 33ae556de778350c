//! Where the parser reads from: a slice in user space, packet pointers in the kernel.

/// Random access to the bytes of a frame.
pub trait Bytes: Copy {
    /// The `N` bytes from `offset` on, or `None` if the frame ends before.
    fn get<const N: usize>(self, offset: usize) -> Option<[u8; N]>;

    /// The same offset, of which the verifier knows no more than that it is below
    /// [`MAX_OFFSET`]: else it follows each way to get there on its own, and their number
    /// multiplies with every optional header.
    #[inline(always)]
    fn forget(offset: usize) -> usize {
        offset & (MAX_OFFSET - 1)
    }
}

/// More than any offset that the parser reaches: 4 tags and 6 extension headers of 2,048 bytes.
const MAX_OFFSET: usize = 1 << 14;

impl Bytes for &[u8] {
    #[inline(always)]
    fn get<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

/// The linear part of a packet in the kernel.
#[cfg(target_arch = "bpf")]
#[derive(Clone, Copy, Debug)]
pub struct Pointers {
    start: usize,
    end: usize,
}

#[cfg(target_arch = "bpf")]
impl Pointers {
    /// # Safety
    ///
    /// `start` and `end` are the `data` and `data_end` of the running program's context, and no
    /// helper that moves the packet is called while the value lives.
    #[inline(always)]
    pub unsafe fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Bytes that can be read.
    #[inline(always)]
    pub fn len(self) -> usize {
        self.end - self.start
    }

    /// The address of the `N` bytes from `offset` on, or `None` if the frame ends before.
    #[inline(always)]
    pub fn address<const N: usize>(self, offset: usize) -> Option<*mut [u8; N]> {
        let mut at = self.start;
        if core::intrinsics::is_val_statically_known(offset) {
            at += offset;
        } else {
            // The verifier blesses the very register that was compared with the packet's end.
            // LLVM, left alone, may compute `start + offset` twice, and the check is lost on it.
            // SAFETY: an addition.
            unsafe {
                core::arch::asm!(
                    "{at} += {offset}",
                    at = inout(reg) at,
                    offset = in(reg) offset,
                    options(pure, nomem, preserves_flags),
                );
            }
        }
        (at + N <= self.end).then_some(at as *mut [u8; N])
    }
}

#[cfg(target_arch = "bpf")]
impl Bytes for Pointers {
    #[inline(always)]
    fn get<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        let at = self.address::<N>(offset)?;
        // SAFETY: `at..at + N` lies within the packet, as just compared.
        Some(unsafe { *at })
    }

    #[inline(always)]
    fn forget(mut offset: usize) -> usize {
        // SAFETY: swaps the low 16 bits twice, which the verifier does not see through.
        unsafe {
            core::arch::asm!(
                "{0} = be16 {0}",
                "{0} = be16 {0}",
                inout(reg) offset,
                options(pure, nomem, preserves_flags),
            );
        }
        offset & (MAX_OFFSET - 1)
    }
}
