//! The SYN-flood guard: what becomes of bare SYNs to a destination under attack. None of them
//! makes a flow entry; they are booked as `suppressed`, whatever becomes of them.

mod budget;
mod cookie;
mod detect;
mod methods;
mod socket;
mod state;
mod subject;

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    programs::XdpContext,
};
use sensor_ebpf::{
    abi::{
        Destination, DestinationCounters, DestinationKey, DropReason, FlowKey, GuardMode,
        GuardSettings, Method, ProtocolClass, mode,
    },
    parse::Headers,
};

use super::{
    lists,
    maps::{DESTINATION_COUNTERS, DESTINATIONS, GUARD, HEARTBEAT},
    run::Run,
};
use subject::Subject;

pub(super) use state::{Segment, completed, is_watching, segment};

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
    subject: &'static Subject,
    frame: &'a Frame<'a>,
    destination: Destination,
    settings: &'static GuardSettings,
    /// This CPU's own.
    counters: &'static mut DestinationCounters,
    now_ns: u64,
    /// Nothing is dropped or answered: what would have been is counted.
    only_watch: bool,
}

#[inline(always)]
const fn is_bare_syn(tcp_flags: u8) -> bool {
    tcp_flags & SYN_ACK_FIN_RST == SYN
}

/// Whether a segment is a bare SYN that the guard has to see.
#[inline(always)]
pub(super) fn wants(run: &Run, tcp_flags: u8) -> bool {
    is_bare_syn(tcp_flags)
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
    let subject = Subject::keep(key, headers)?;
    let Some(destination) = find(run, &subject.to) else {
        detect::count(settings, &subject.to, now_ns);
        return None;
    };
    let is_defended = destination.method != Method::Watch as u32;
    let lists = if is_defended {
        ask_lists(run, &subject.key)
    } else {
        lists::Verdict::PASS
    };
    if let lists::Verdict::Block(reason) = lists {
        run.totals.syn += run.packets;
        run.refuse(&subject.key, reason);
        return Some(XDP_DROP);
    }
    let counters = counters_of(destination)?;
    counters.syn += run.packets;
    counters.syn_bytes += run.bytes;
    if !is_defended {
        counters.passed += run.packets;
        return None;
    }
    let mut case = Case {
        subject,
        frame,
        destination,
        settings,
        counters,
        now_ns,
        only_watch: only_watches(run),
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

/// This CPU's counters of a destination.
#[inline(always)]
fn counters_of(destination: Destination) -> Option<&'static mut DestinationCounters> {
    let counters = DESTINATION_COUNTERS.get_ptr_mut(destination.slot)?;
    // SAFETY: the value belongs to this CPU, and no other XDP program runs on it before this one
    // ends.
    Some(unsafe { &mut *counters })
}

/// Whether nothing may be dropped or answered.
#[inline(always)]
fn only_watches(run: &Run) -> bool {
    run.settings.guard != GuardMode::Mitigate as u32 || run.settings.mode & mode::TAP != 0
}

/// Whether user space has been silent for so long that its judgement no longer holds. Cookies go
/// on all the same: the kernel itself refuses them where a listener's queue has room.
#[inline(always)]
fn has_lapsed(case: &Case<'_>) -> bool {
    let hold = u64::from(case.settings.hold_seconds) * 1_000_000_000;
    match HEARTBEAT.get(0) {
        Some(beat) => hold != 0 && case.now_ns > beat + hold,
        None => true,
    }
}

/// Books the SYN and counts what became of it.
#[inline(always)]
fn execute(run: &mut Run, case: &mut Case<'_>, verdict: Verdict) -> u32 {
    let packets = run.packets;
    run.totals.syn += packets;
    run.suppress(ProtocolClass::Tcp);
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
