//! Exact counters per flow.

use sensor_ebpf::{
    abi::{FlowKey, ProtocolClass, entry_flags},
    sampling::State,
};

use super::{atomic, run::Run, table::Entry};

/// The flow's entry, and the packet's number within flow and generation.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    pub(super) entry: Entry,
    pub(super) number: u64,
}

/// TCP flags in the header's 13th byte.
mod flag {
    pub(super) const FIN: u8 = 0x01;
    pub(super) const SYN: u8 = 0x02;
    pub(super) const RST: u8 = 0x04;
    pub(super) const ACK: u8 = 0x10;
}

/// What is remembered of the entry's flow.
#[inline(always)]
pub(super) fn state(entry: Entry) -> State {
    // SAFETY: a live map value; of concurrent writers any may win, at the price of a sample or of
    // asking the lists again.
    unsafe { State((&raw const (*entry.as_ptr()).state).read_volatile()) }
}

/// Notes something of the entry's flow.
#[inline(always)]
pub(super) fn set_state(entry: Entry, state: State) {
    // SAFETY: as in `state`.
    unsafe { (&raw mut (*entry.as_ptr()).state).write_volatile(state.0) };
}

/// Counts the packet into its flow's entry.
#[inline(always)]
pub(super) fn packet(run: &mut Run, entry: Entry, tcp_flags: u8) -> Counted {
    let now = run.now_ns();
    let at = entry.as_ptr();
    // SAFETY: `at` points to a live map value; fields are changed atomically, or written by
    // plain stores of which any may win.
    unsafe {
        // An atomic addition lets no later load overtake it: without this one the entry's second
        // cache line would be fetched only after its first has come.
        let seen = (&raw const (*at).tcp_flags).read_volatile();
        let number = atomic::fetch_add(&raw mut (*at).packets, run.packets) + 1;
        atomic::add(&raw mut (*at).bytes, run.bytes);
        (&raw mut (*at).last_ns).write_volatile(now);
        let flags = u64::from(tcp_flags);
        if seen & flags != flags {
            atomic::or(&raw mut (*at).tcp_flags, flags);
        }
        if tcp_flags & (flag::SYN | flag::FIN | flag::RST) != 0 {
            let packets = run.packets as u32;
            if is_open(tcp_flags) {
                atomic::add32(&raw mut (*at).syn, packets);
            } else if tcp_flags & flag::SYN != 0 {
                atomic::add32(&raw mut (*at).syn_ack, packets);
            }
            if tcp_flags & flag::FIN != 0 {
                atomic::add32(&raw mut (*at).fin, packets);
            }
            if tcp_flags & flag::RST != 0 {
                atomic::add32(&raw mut (*at).rst, packets);
            }
        }
        Counted { entry, number }
    }
}

/// Notes that a SYN cookie opened the entry's connection.
#[inline(always)]
pub(super) fn mark_by_cookie(entry: Entry) {
    // SAFETY: a live map value, changed atomically.
    unsafe { atomic::or(&raw mut (*entry.as_ptr()).tcp_flags, entry_flags::BY_COOKIE) };
}

/// Whether a segment is the first of its flow that is no SYN, and acknowledges one.
#[inline(always)]
pub(super) fn completes_handshake(counted: Counted, tcp_flags: u8) -> bool {
    if tcp_flags & (flag::SYN | flag::ACK | flag::RST) != flag::ACK {
        return false;
    }
    // SAFETY: a live map value; of concurrent writers any may win.
    let syns = unsafe { (&raw const (*counted.entry.as_ptr()).syn).read_volatile() };
    syns != 0 && counted.number == u64::from(syns) + 1
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
