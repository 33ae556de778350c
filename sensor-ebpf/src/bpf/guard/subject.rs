//! What the guard looks at, kept in a map.
//!
//! The verifier follows each way through the parser on its own, with all that it knows of addresses
//! and offsets by then, and would walk through the whole guard for each of them. Of what stands in
//! a map it knows nothing: the ways meet here.

use core::arch::asm;

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use sensor_ebpf::{
    abi::{DestinationKey, FlowKey, key_flags},
    parse::Headers,
};

/// One segment for each CPU.
#[btf_map]
static GUARD_SUBJECT: PerCpuArray<Subject, 1> = PerCpuArray::new();

/// More than any offset that the parser reaches; the verifier wants to see it bounded.
const MAX_OFFSET: u64 = 1 << 14;

/// A received segment.
#[repr(C, align(8))]
pub(super) struct Subject {
    pub(super) key: FlowKey,
    /// Whom it was sent to.
    pub(super) to: DestinationKey,
    tcp_flags: u8,
    is_fragment: u8,
    _pad: u16,
    ip: u64,
    transport: u64,
    payload: u64,
    end: u64,
}

impl Subject {
    /// Keeps the segment until this run ends.
    #[inline(always)]
    pub(super) fn keep(key: &FlowKey, headers: &Headers) -> Option<&'static Self> {
        let mut subject = GUARD_SUBJECT.get_ptr_mut(0)?;
        // SAFETY: this CPU's value, used by nothing else before this program ends. The assembly does
        // nothing: it keeps the compiler from using what it has just written.
        unsafe {
            let words = key.words();
            let kept = (&raw mut (*subject).key).cast::<u64>();
            for (at, word) in words.iter().enumerate() {
                kept.add(at).write_volatile(*word);
            }
            let to = (&raw mut (*subject).to.address).cast::<u64>();
            to.write_volatile(words[2]);
            to.add(1).write_volatile(words[3]);
            (*subject).to.port = key.dst_port;
            (*subject).to._pad = 0;
            (*subject).tcp_flags = headers.tcp_flags;
            (*subject).is_fragment = headers.fragment.is_some().into();
            (*subject).ip = headers.ip as u64;
            (*subject).transport = headers.transport as u64;
            (*subject).payload = headers.payload as u64;
            (*subject).end = headers.end as u64;
            asm!(
                "{0} = {0}",
                inout(reg) subject,
                options(nostack, preserves_flags),
            );
            Some(&*subject)
        }
    }

    #[inline(always)]
    pub(super) fn is_v6(&self) -> bool {
        self.key.flags & key_flags::IPV6 != 0
    }

    #[inline(always)]
    pub(super) fn tcp_flags(&self) -> u8 {
        self.tcp_flags
    }

    /// Offset of the IP header.
    #[inline(always)]
    pub(super) fn ip(&self) -> usize {
        (self.ip & (MAX_OFFSET - 1)) as usize
    }

    /// Offset of the TCP header.
    #[inline(always)]
    pub(super) fn transport(&self) -> usize {
        (self.transport & (MAX_OFFSET - 1)) as usize
    }

    /// Bytes of the TCP header.
    #[inline(always)]
    pub(super) fn tcp_len(&self) -> usize {
        (self.payload - self.transport) as usize
    }

    /// Whether an IP header of this length and a whole TCP header follow one another.
    #[inline(always)]
    pub(super) fn is_plain(&self, ip_len: usize) -> bool {
        self.transport - self.ip == ip_len as u64
            && self.is_fragment == 0
            && self.payload <= self.end
    }
}
