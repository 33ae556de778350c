//! The host's sockets, as the device's network namespace knows them.

use aya_ebpf::{
    bindings::bpf_sock,
    helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp},
};
use sensor_ebpf::{
    abi::{FlowKey, key_flags},
    guard::synack::{pairs, word},
};

use super::Frame;

/// `TCP_LISTEN` and `TCP_NEW_SYN_RECV` of `include/net/tcp_states.h`.
const LISTEN: u32 = 10;
const NEW_SYN_RECV: u32 = 12;

/// `BPF_F_CURRENT_NETNS`.
const CURRENT_NAMESPACE: u64 = u64::MAX;

/// A socket that is held: every way on has to [`release`] it.
pub(super) type Held = *mut bpf_sock;

/// The socket that the kernel would give a segment to; null if there is none.
#[inline(always)]
pub(super) fn find(frame: &Frame<'_>, key: &FlowKey) -> Held {
    let ports = (u32::from(key.src_port) << 16 | u32::from(key.dst_port)).to_be();
    // `struct bpf_sock_tuple`: addresses and ports in network order, in pairs of words, of which
    // the verifier wants the accesses aligned.
    let mut tuple = [0_u64; 5];
    let len = if key.flags & key_flags::IPV6 == 0 {
        tuple[0] = u64::from(word(&key.src, 3)) | u64::from(word(&key.dst, 3)) << 32;
        tuple[1] = ports.into();
        12
    } else {
        let (src, dst) = (pairs(&key.src), pairs(&key.dst));
        tuple = [src[0], src[1], dst[0], dst[1], ports.into()];
        36
    };
    // SAFETY: the tuple has as many bytes as are told.
    unsafe {
        bpf_skc_lookup_tcp(
            frame.context(),
            (&raw mut tuple).cast(),
            len,
            CURRENT_NAMESPACE,
            0,
        )
    }
}

/// What a socket is to the guard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Listen,
    /// A handshake that has begun.
    Request,
    /// A connection, or what is left of one.
    Other,
}

/// The state of a socket that is held and not null.
#[inline(always)]
pub(super) fn state(socket: Held) -> State {
    // SAFETY: the socket is held.
    match unsafe { (*socket).state } {
        LISTEN => State::Listen,
        NEW_SYN_RECV => State::Request,
        _ => State::Other,
    }
}

/// Gives up a socket that is held and not null.
#[inline(always)]
pub(super) fn release(socket: Held) {
    // SAFETY: the socket is held, and this is its last use.
    unsafe { bpf_sk_release(socket.cast()) };
}
