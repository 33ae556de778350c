//! Segments that belong to no flow that the tables know: the ACK that brings a cookie back, the
//! completion of handshakes, and floods of segments that belong to nothing.

use aya_ebpf::helpers::generated::{bpf_tcp_check_syncookie, bpf_xdp_load_bytes};
use sensor_ebpf::{
    abi::{DropReason, FlowKey, GuardMode, Method, key_flags, mode},
    guard::{
        filter::{CLIENT_TICK, Place, client_ticks},
        hash,
    },
    parse::Headers,
};

use super::{
    super::{
        maps::{FLOW_STATE, GUARD, GUARD_SCRATCH, SOURCES},
        run::Run,
    },
    Case, Frame, Subject, budget, counters_of, find, has_lapsed,
    socket::{self, Held, State},
};

/// What becomes of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::bpf) enum Segment {
    Pass,
    /// It opens a connection by the return of a cookie.
    ByCookie,
    Drop,
}

const ACK: u8 = 0x10;
const SYN_ACK_RST: u8 = 0x16;
const TCP: u8 = 6;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;

/// Whether the guard watches anything that a segment could belong to.
#[inline(always)]
pub(in crate::bpf) fn is_watching(run: &Run, key: &FlowKey) -> bool {
    run.settings.destinations != 0
        && key.protocol == TCP
        && key.flags & key_flags::FRAGMENT == 0
        && run.settings.guard != GuardMode::Off as u32
        && run.settings.mode & mode::PASS_ALL == 0
}

/// Counts a handshake that a segment has completed, whose flow has had nothing but SYNs before.
#[inline(always)]
pub(in crate::bpf) fn completed(run: &Run, key: &FlowKey, headers: &Headers) {
    if let Some(subject) = Subject::keep(key, headers)
        && let Some(destination) = find(run, &subject.to)
        && let Some(counters) = counters_of(destination)
    {
        counters.completed += run.packets;
    }
}

/// Judges a segment other than a bare SYN whose flow this generation has not met.
#[inline(always)]
pub(in crate::bpf) fn segment(
    run: &mut Run,
    key: &FlowKey,
    headers: &Headers,
    frame: &Frame<'_>,
) -> Segment {
    if !is_watching(run, key) || super::is_bare_syn(headers.tcp_flags) {
        return Segment::Pass;
    }
    try_segment(run, key, headers, frame).unwrap_or(Segment::Pass)
}

#[inline(always)]
fn try_segment(
    run: &mut Run,
    key: &FlowKey,
    headers: &Headers,
    frame: &Frame<'_>,
) -> Option<Segment> {
    let subject = Subject::keep(key, headers)?;
    let key = &subject.key;
    let destination = find(run, &subject.to)?;
    // SAFETY: only presence is asked for.
    if unsafe { FLOW_STATE.get(key).is_some() } {
        return None;
    }
    let settings = GUARD.get(0)?;
    let case = Case {
        subject,
        frame,
        destination,
        settings,
        counters: counters_of(destination)?,
        now_ns: run.now_ns(),
        only_watch: super::only_watches(run),
    };
    let socket = socket::find(frame, key);
    if !socket.is_null() {
        let state = socket::state(socket);
        let by_cookie = state == State::Listen && returns_cookie(&case, socket);
        socket::release(socket);
        if by_cookie {
            case.counters.cookie_admitted += run.packets;
            case.counters.completed += run.packets;
            return Some(Segment::ByCookie);
        }
        match state {
            State::Listen => {}
            State::Request => {
                case.counters.completed += run.packets;
                return None;
            }
            State::Other => return None,
        }
    } else if is_known_client(&case) {
        case.counters.completed += run.packets;
        return None;
    }
    if destination.method == Method::Watch as u32
        || has_lapsed(&case)
        || budget::take(
            budget::of_strays(destination.slot),
            settings.out_of_state_per_second,
            case.now_ns,
        )
    {
        return None;
    }
    if case.only_watch {
        case.counters.would_take += run.packets;
        let would = run
            .totals
            .would_drop
            .get_mut(DropReason::OutOfState as usize)?;
        *would += run.packets;
        return None;
    }
    case.counters.out_of_state += run.packets;
    Some(Segment::Drop)
}

/// Whether retransmission mode has admitted the client.
#[inline(always)]
fn is_known_client(case: &Case<'_>) -> bool {
    let settings = case.settings;
    let client = Place::of(
        hash::address(&settings.seed, &case.subject.key.src),
        settings.sources_mask,
        case.now_ns,
        CLIENT_TICK,
    );
    match SOURCES.get_ptr_mut(client.block) {
        // SAFETY: the block of that place.
        Some(block) => unsafe { client.refresh(block, client_ticks(settings.validated_seconds)) },
        None => false,
    }
}

/// Whether an ACK acknowledges a cookie of the listener's.
#[inline(always)]
fn returns_cookie(case: &Case<'_>, listener: Held) -> bool {
    let subject = case.subject;
    let ip_len = if subject.is_v6() {
        IPV6_HEADER
    } else {
        IPV4_HEADER
    };
    if subject.tcp_flags() & SYN_ACK_RST != ACK || !subject.is_plain(ip_len) {
        return false;
    }
    let Some(scratch) = GUARD_SCRATCH.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: this CPU's value, used by nothing else before this program ends; it has room for both
    // headers.
    unsafe {
        let segment = (&raw mut (*scratch).segment).cast::<u8>();
        let len = (ip_len + TCP_HEADER) as u32;
        let context = case.frame.ctx.ctx;
        bpf_xdp_load_bytes(context, subject.ip() as u32, segment.cast(), len) == 0
            && bpf_tcp_check_syncookie(
                listener.cast(),
                segment.cast(),
                ip_len as u32,
                segment.add(ip_len).cast(),
                TCP_HEADER as u32,
            ) == 0
    }
}
