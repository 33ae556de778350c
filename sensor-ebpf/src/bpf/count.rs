//! Exact counters per flow.

use aya_ebpf::bindings::BPF_NOEXIST;
use sensor_ebpf::abi::{FlowEntry, FlowKey, ProtocolClass};

use super::{
    atomic,
    maps::{FLOWS_0, FLOWS_1},
    run::Run,
};

/// Kernel errors that `bpf_map_update_elem` returns.
const EEXIST: i32 = -17;
const E2BIG: i32 = -7;

/// The flow's entry, and the packet's number within flow and generation.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    pub(super) entry: *mut FlowEntry,
    pub(super) number: u64,
}

/// TCP flags in the header's 13th byte.
mod flag {
    pub(super) const FIN: u8 = 0x01;
    pub(super) const SYN: u8 = 0x02;
    pub(super) const RST: u8 = 0x04;
    pub(super) const ACK: u8 = 0x10;
}

/// The flow's entry in this generation, if it has met the flow.
///
/// The program never deletes an entry, and user space clears a table only when no program can
/// hold a pointer into it: the entry stays valid for as long as this run lasts.
#[inline(always)]
pub(super) fn lookup(epoch: u64, key: &FlowKey) -> Option<*mut FlowEntry> {
    if epoch & 1 == 0 {
        FLOWS_0.get_ptr_mut(key)
    } else {
        FLOWS_1.get_ptr_mut(key)
    }
}

/// Whether this CPU has found the generation's table full. A failing insert takes locks on all
/// CPUs' free lists, and once it has failed, nothing makes room before the generation changes.
#[inline(always)]
pub(super) fn is_full(run: &Run) -> bool {
    run.cpu.full_epoch == run.epoch
}

/// Makes the entry of a flow that this generation has not met, with what is remembered of it
/// (`FlowEntry::state`); `None` if there is no room.
#[inline(always)]
pub(super) fn insert(run: &mut Run, key: &FlowKey, state: u64) -> Option<*mut FlowEntry> {
    let now = run.now_ns();
    let fresh = FlowEntry {
        first_ns: now,
        last_ns: now,
        state,
        ..FlowEntry::default()
    };
    let flags = u64::from(BPF_NOEXIST);
    let made = if run.epoch & 1 == 0 {
        FLOWS_0.insert(key, &fresh, flags)
    } else {
        FLOWS_1.insert(key, &fresh, flags)
    };
    match made {
        // Made by this CPU, or by another one in the meantime.
        Ok(()) | Err(EEXIST) => lookup(run.epoch, key),
        Err(E2BIG) => {
            run.cpu.full_epoch = run.epoch;
            None
        }
        Err(_) => None,
    }
}

/// Counts the packet into its flow's entry.
#[inline(always)]
pub(super) fn packet(run: &mut Run, entry: *mut FlowEntry, tcp_flags: u8) -> Counted {
    let now = run.now_ns();
    // SAFETY: `entry` points to a live map value; fields are changed atomically, or written by
    // plain stores of which any may win.
    unsafe {
        let number = atomic::fetch_add(&raw mut (*entry).packets, run.packets) + 1;
        atomic::add(&raw mut (*entry).bytes, run.bytes);
        (&raw mut (*entry).last_ns).write_volatile(now);
        let flags = u64::from(tcp_flags);
        if (*entry).tcp_flags & flags != flags {
            atomic::or(&raw mut (*entry).tcp_flags, flags);
        }
        if tcp_flags & (flag::SYN | flag::FIN | flag::RST) != 0 {
            let packets = run.packets as u32;
            if is_open(tcp_flags) {
                atomic::add32(&raw mut (*entry).syn, packets);
            } else if tcp_flags & flag::SYN != 0 {
                atomic::add32(&raw mut (*entry).syn_ack, packets);
            }
            if tcp_flags & flag::FIN != 0 {
                atomic::add32(&raw mut (*entry).fin, packets);
            }
            if tcp_flags & flag::RST != 0 {
                atomic::add32(&raw mut (*entry).rst, packets);
            }
        }
        Counted { entry, number }
    }
}

/// Counts the packet of a flow that found no room.
#[inline(always)]
pub(super) fn overflow(run: &mut Run, key: &FlowKey) {
    let class = ProtocolClass::of(key.protocol) as usize;
    if let Some(packets) = run.totals.overflow.get_mut(class)
        && let Some(bytes) = run.totals.overflow_bytes.get_mut(class)
    {
        *packets += run.packets;
        *bytes += run.bytes;
    }
}

/// Whether a TCP segment asks for a connection: SYN without ACK.
#[inline(always)]
pub(super) const fn is_open(tcp_flags: u8) -> bool {
    tcp_flags & (flag::SYN | flag::ACK) == flag::SYN
}
