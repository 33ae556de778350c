//! The SYN-flood guard: what becomes of bare SYNs to a destination under attack. None of them
//! makes a flow entry; they are booked as `suppressed`, whatever becomes of them.

mod budget;
mod cookie;
mod detect;
mod methods;
mod socket;

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    programs::XdpContext,
};
use sensor_ebpf::{
    abi::{
        Destination, DestinationCounters, DestinationKey, DropReason, FlowKey, GuardMode,
        GuardSettings, Method, mode,
    },
    parse::Headers,
};

use super::{
    lists,
    maps::{DESTINATION_COUNTERS, DESTINATIONS, GUARD},
    run::Run,
};

/// Flags of a TCP header that tell a SYN that asks for a connection.
const SYN: u8 = 0x02;
const SYN_ACK_FIN_RST: u8 = 0x17;

/// The frame that the program runs for.
pub(super) struct Frame<'a> {
    pub(super) ctx: &'a XdpContext,
    /// All of its bytes, of which not all need be linear.
    pub(super) len: u64,
}

impl Frame<'_> {
    /// Whether all of it can be read and written in place.
    #[inline(always)]
    fn is_linear(&self) -> bool {
        (self.ctx.data_end() - self.ctx.data()) as u64 == self.len
    }

    #[inline(always)]
    fn context(&self) -> *mut core::ffi::c_void {
        self.ctx.as_ptr().cast()
    }
}

/// The verifier wants every access to the stack aligned, and the compiler writes eight bytes at
/// once where it can.
#[repr(C, align(8))]
struct Aligned<T>(T);

/// What a method decides on a SYN.
#[derive(Clone, Copy)]
enum Verdict {
    Pass,
    /// A cookie answers it: the frame has become the answer, unless nothing may be sent.
    Answer,
    Drop(DropReason),
}

/// A SYN, and what is known of its destination.
struct Case<'a> {
    key: &'a FlowKey,
    headers: &'a Headers,
    frame: &'a Frame<'a>,
    destination: Destination,
    settings: &'static GuardSettings,
    /// This CPU's own.
    counters: &'static mut DestinationCounters,
    now_ns: u64,
    /// Nothing is dropped or answered: what would have been is counted.
    only_watch: bool,
}

/// Whether a segment is a bare SYN that the guard has to see.
#[inline(always)]
pub(super) fn wants(run: &Run, tcp_flags: u8) -> bool {
    tcp_flags & SYN_ACK_FIN_RST == SYN
        && run.settings.guard != GuardMode::Off as u32
        && run.settings.mode & mode::PASS_ALL == 0
        && run.known_device
}

/// Judges a bare SYN. The program's verdict, or `None` where it goes the way of all packets.
#[inline(always)]
pub(super) fn syn(
    run: &mut Run,
    key: &FlowKey,
    headers: &Headers,
    frame: &Frame<'_>,
) -> Option<u32> {
    let settings = GUARD.get(0)?;
    let now_ns = run.now_ns();
    let to = Aligned(DestinationKey {
        address: key.dst,
        port: key.dst_port,
        _pad: 0,
    });
    let Some(destination) = find(run, &to.0) else {
        detect::count(settings, &to.0, now_ns);
        return None;
    };
    let is_defended = destination.method != Method::Watch as u32;
    let lists = if is_defended {
        ask_lists(run, key)
    } else {
        lists::Verdict::PASS
    };
    if let lists::Verdict::Block(reason) = lists {
        run.totals.syn += run.packets;
        run.refuse(reason);
        return Some(XDP_DROP);
    }
    // SAFETY: the value belongs to this CPU, and no other XDP program runs on it before this one
    // ends.
    let counters = unsafe { &mut *DESTINATION_COUNTERS.get_ptr_mut(destination.slot)? };
    counters.syn += run.packets;
    counters.syn_bytes += run.bytes;
    if !is_defended {
        counters.passed += run.packets;
        return None;
    }
    let mut case = Case {
        key,
        headers,
        frame,
        destination,
        settings,
        counters,
        now_ns,
        only_watch: run.settings.guard != GuardMode::Mitigate as u32
            || run.settings.mode & mode::TAP != 0,
    };
    let verdict = match lists {
        lists::Verdict::Pass { allowed: true, .. } => Verdict::Pass,
        _ => methods::decide(&mut case),
    };
    Some(execute(run, &mut case, verdict))
}

/// The lists are asked before the guard: who is allowed passes, who is blocked is not even counted
/// as one of the attack.
#[inline(always)]
fn ask_lists(run: &mut Run, key: &FlowKey) -> lists::Verdict {
    if lists::generation(run) == 0 {
        return lists::Verdict::PASS;
    }
    match lists::hint(key) {
        Some(hint) => lists::judge(run, key, hint),
        None => lists::Verdict::PASS,
    }
}

/// What user space has decided of a destination, if it watches it.
#[inline(always)]
fn find(run: &Run, to: &DestinationKey) -> Option<Destination> {
    if run.settings.destinations == 0 {
        return None;
    }
    // SAFETY: the value is copied at once. Of an entry that is deleted meanwhile either is right.
    unsafe { DESTINATIONS.get(to).copied() }
}

/// Books the SYN and counts what became of it.
#[inline(always)]
fn execute(run: &mut Run, case: &mut Case<'_>, verdict: Verdict) -> u32 {
    let packets = run.packets;
    run.totals.syn += packets;
    run.totals.suppressed += packets;
    run.totals.suppressed_bytes += run.bytes;
    match verdict {
        Verdict::Answer if !case.only_watch => {
            case.counters.cookies += packets;
            run.totals.syncookies += packets;
            run.totals.transmitted += packets;
            run.totals.transmitted_bytes += run.bytes;
            return XDP_TX;
        }
        Verdict::Drop(reason) if !case.only_watch => {
            match reason {
                DropReason::SourceRate => case.counters.source_limited += packets,
                DropReason::DestinationRate => case.counters.destination_limited += packets,
                DropReason::SynAckRate => case.counters.synack_limited += packets,
                _ => case.counters.first_dropped += packets,
            }
            run.dropped(reason);
            return XDP_DROP;
        }
        Verdict::Pass => {}
        Verdict::Answer => {
            case.counters.would_take += packets;
            run.totals.would_transmit += packets;
        }
        Verdict::Drop(reason) => {
            case.counters.would_take += packets;
            if let Some(would) = run.totals.would_drop.get_mut(reason as usize) {
                *would += packets;
            }
        }
    }
    case.counters.passed += packets;
    if run.settings.mode & mode::TAP != 0 {
        run.dropped(DropReason::Tap);
        return XDP_DROP;
    }
    XDP_PASS
}
