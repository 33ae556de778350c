//! Answers a SYN by a SYN cookie of the kernel's: the listener itself accepts the ACK.

use aya_ebpf::helpers::generated::{
    bpf_check_mtu, bpf_tcp_gen_syncookie, bpf_xdp_adjust_tail, bpf_xdp_load_bytes,
};
use sensor_ebpf::{
    abi::guard_flags,
    guard::synack::{self, EXTENDED_LEN, PLAIN_LEN, Scratch, SynAck},
    parse::Pointers,
};

use super::{
    super::{bounds, maps::GUARD_SCRATCH},
    Case, budget,
    socket::{self, Held, State},
};

/// What became of an attempt to answer a SYN.
pub(super) enum Answer {
    /// The frame is the SYN-ACK; where nothing may be sent it is as it was.
    Made,
    /// The kernel will look after the SYN itself.
    NotNeeded,
    /// Too many SYN-ACKs were sent already.
    TooMany,
    /// No cookie can answer it.
    Impossible,
}

const ETHERNET_ADDRESSES: usize = 12;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
/// More than the longest header, which has 60.
const TCP_ROOM: usize = 64;

/// The least MSS that every host has (RFC 9293 section 3.7.1, RFC 8200 section 5).
const MIN_MSS_V4: u32 = 536;
const MIN_MSS_V6: u32 = 1220;

/// The kernel's refusals: the listener needs no cookies; the SYN is not what it takes.
const ENOENT: i64 = -2;
const EINVAL: i64 = -22;

/// Our own.
const NO_LISTENER: i64 = -1001;
const TOO_MANY: i64 = -1002;
const ONLY_WATCH: i64 = -1003;

#[inline(always)]
pub(super) fn answer(case: &mut Case<'_>) -> Answer {
    let subject = case.subject;
    let ip_len = if subject.is_v6() {
        IPV6_HEADER
    } else {
        IPV4_HEADER
    };
    if !subject.is_plain(ip_len) || !case.frame.is_linear() {
        case.counters.cookie_ineligible += 1;
        return Answer::Impossible;
    }
    let Some(scratch) = GUARD_SCRATCH.get_ptr_mut(0) else {
        return Answer::Impossible;
    };
    // SAFETY: this CPU's value, used by nothing else before this program ends.
    let scratch = unsafe { &mut *scratch };
    // One way from here to the release, or the compiler makes several of it, of which the verifier
    // does not see that they have a socket.
    let socket = socket::find(case.frame, &subject.key);
    if socket.is_null() {
        case.counters.cookie_no_listener += 1;
        return Answer::Impossible;
    }
    let cookie = generate(case, scratch, ip_len, socket);
    socket::release(socket);
    if cookie >= 0 {
        if send(case, scratch, ip_len, cookie as u32).is_some() {
            return Answer::Made;
        }
    } else if cookie == ONLY_WATCH {
        return Answer::Made;
    } else if cookie == TOO_MANY {
        return Answer::TooMany;
    } else if cookie == NO_LISTENER {
        return Answer::NotNeeded;
    } else if cookie == ENOENT {
        case.counters.cookie_queue_open += 1;
        return Answer::NotNeeded;
    }
    case.counters.cookie_ineligible += 1;
    Answer::Impossible
}

/// The kernel's cookie for the SYN, of which IP and TCP header are copied to `scratch`; negative if
/// there is none.
#[inline(always)]
fn generate(case: &Case<'_>, scratch: &mut Scratch, ip_len: usize, socket: Held) -> i64 {
    if socket::state(socket) != State::Listen {
        return NO_LISTENER;
    }
    if case.only_watch {
        return if may_send(case) { ONLY_WATCH } else { TOO_MANY };
    }
    // The verifier does not know what the parser has made sure of.
    let tcp_len = bounds::length(case.subject.tcp_len(), TCP_ROOM);
    if tcp_len < TCP_HEADER as u32 {
        return EINVAL;
    }
    let segment = (&raw mut scratch.segment).cast::<u8>();
    // SAFETY: the scratch has room for both headers at their longest.
    let cookie = unsafe {
        let loaded = bpf_xdp_load_bytes(
            case.frame.ctx.ctx,
            case.subject.ip() as u32,
            segment.cast(),
            ip_len as u32 + tcp_len,
        );
        if loaded != 0 {
            return EINVAL;
        }
        bpf_tcp_gen_syncookie(
            socket.cast(),
            segment.cast(),
            ip_len as u32,
            segment.add(ip_len).cast(),
            tcp_len,
        )
    };
    if cookie < 0 {
        return cookie;
    }
    // Only now: what the kernel looks after itself spends nothing, and is not refused.
    if !may_send(case) {
        return TOO_MANY;
    }
    if case.settings.flags & guard_flags::TIMESTAMPS != 0 {
        scratch.read_options(ip_len + TCP_HEADER, ip_len + tcp_len as usize);
    }
    cookie
}

/// Takes one of the SYN-ACKs that the host may send.
#[inline(always)]
fn may_send(case: &Case<'_>) -> bool {
    let per_second = case.settings.synack_per_second;
    budget::take(budget::SYN_ACKS, per_second, case.now_ns)
}

/// Makes the frame the SYN-ACK; tags stay. `None` if the frame cannot be made as long as it has to
/// be, and is as it was.
#[inline(always)]
fn send(case: &Case<'_>, scratch: &Scratch, ip_len: usize, cookie: u32) -> Option<()> {
    let key = &case.subject.key;
    let is_v6 = ip_len == IPV6_HEADER;
    let segment = &scratch.segment;
    let sequence = ip_len + 4;
    let answer = SynAck {
        server_port: key.dst_port,
        client_port: key.src_port,
        cookie,
        sequence: u32::from_be_bytes([
            segment[sequence & 127],
            segment[(sequence + 1) & 127],
            segment[(sequence + 2) & 127],
            segment[(sequence + 3) & 127],
        ]),
        mss: mss(case, is_v6),
        flags: segment[(ip_len + 13) & 127],
    };
    let mut tcp = answer.header(
        scratch,
        case.settings.flags,
        case.settings.window_scale,
        case.now_ns,
    );
    let ctx = case.frame.ctx;
    let ip = case.subject.ip();
    let len = ip + ip_len + tcp.len();
    let delta = len as i64 - case.frame.len as i64;
    // SAFETY: the context of this run; pointers into the packet are read again below.
    if unsafe { bpf_xdp_adjust_tail(ctx.ctx, delta as i32) } != 0 {
        return None;
    }
    // SAFETY: nothing moves the packet from here on.
    let packet = unsafe { Pointers::new(ctx.data(), ctx.data_end()) };
    // SAFETY: all addresses were checked against the packet's end.
    unsafe {
        let ethernet = packet
            .address::<ETHERNET_ADDRESSES>(0)?
            .cast::<[[u8; 6]; 2]>();
        let [to, from] = *ethernet;
        *ethernet = [from, to];
        if is_v6 {
            tcp.seal(synack::sum_v6(&key.src, &key.dst));
            let header = synack::v6(&key.dst, &key.src, tcp.len());
            *packet.address::<IPV6_HEADER>(ip)?.cast() = header;
        } else {
            tcp.seal(synack::sum_v4(&key.src, &key.dst));
            let header = synack::v4(&key.dst, &key.src, tcp.len());
            *packet.address::<IPV4_HEADER>(ip)?.cast() = header.0;
        }
        if tcp.is_extended {
            *packet.address::<EXTENDED_LEN>(ip + ip_len)?.cast() = tcp.words;
        } else {
            let [words @ .., _, _, _, _] = tcp.words;
            *packet.address::<PLAIN_LEN>(ip + ip_len)?.cast() = words;
        }
    }
    Some(())
}

/// What a segment may hold that this device receives.
#[inline(always)]
fn mss(case: &Case<'_>, is_v6: bool) -> u16 {
    let mut mtu = 0_u32;
    // SAFETY: the helper writes the device's MTU there; 0 stands for the device of this run.
    unsafe { bpf_check_mtu(case.frame.context(), 0, &raw mut mtu, 0, 0) };
    let (headers, least) = if is_v6 {
        (IPV6_HEADER + TCP_HEADER, MIN_MSS_V6)
    } else {
        (IPV4_HEADER + TCP_HEADER, MIN_MSS_V4)
    };
    let mss = mtu.saturating_sub(headers as u32);
    if mss < least {
        least as u16
    } else if mss > 0xffff {
        0xffff
    } else {
        mss as u16
    }
}
