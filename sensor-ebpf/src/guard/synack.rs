//! The answer to a SYN: what of the client's options a cookie can carry, and the headers of the
//! SYN-ACK.
//!
//! The kernel's cookie holds the client's MSS in the sequence number. Everything else has to come
//! back in the timestamp (`net/ipv4/syncookies.c`, `cookie_init_timestamp`), or the connection does
//! without it.

use crate::abi::guard_flags;

/// Bytes of a TCP header with an MSS option.
pub const PLAIN_LEN: usize = 24;

/// Bytes of a TCP header with timestamps and all that they carry.
pub const EXTENDED_LEN: usize = 40;

/// Options that are followed; what comes later is as if it had not been offered.
const MAX_OPTIONS: usize = 12;

/// Room for an IP header without extensions and a TCP header with all options.
const SEGMENT: usize = 128;

/// A received segment's headers and what its options offer; too large for a BPF stack.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Scratch {
    /// From the IP header on.
    pub segment: [u8; SEGMENT],
    /// Where the next option starts.
    at: u64,
    /// Bits of [`offer`].
    offers: u64,
    window_scale: u64,
    timestamp: u32,
    _pad: u32,
}

/// Bits of `Scratch::offers`.
mod offer {
    pub(super) const WINDOW_SCALE: u64 = 1;
    pub(super) const SACK: u64 = 2;
    pub(super) const TIMESTAMPS: u64 = 4;
}

/// Kinds of TCP options: RFC 9293 section 3.1, RFC 2018, RFC 7323.
mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const SACK_PERMITTED: u8 = 4;
    pub(super) const TIMESTAMPS: u8 = 8;
}

/// TCP flags in the header's 13th byte.
mod flag {
    pub(super) const SYN: u8 = 0x02;
    pub(super) const ACK: u8 = 0x10;
    pub(super) const ECE: u8 = 0x40;
    pub(super) const CWR: u8 = 0x80;
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            segment: [0; SEGMENT],
            at: 0,
            offers: 0,
            window_scale: 0,
            timestamp: 0,
            _pad: 0,
        }
    }
}

impl Scratch {
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.segment[at & (SEGMENT - 1)]
    }

    /// Reads the options between `from` and `end`. What is found stands in memory rather than in
    /// variables: the verifier follows each combination of values that it knows.
    #[inline(always)]
    pub fn read_options(&mut self, from: usize, end: usize) {
        self.at = from as u64;
        self.offers = 0;
        for _ in 0..MAX_OPTIONS {
            // Masked here: behind the comparison LLVM leaves masks out, of which the verifier of
            // Linux 6.1 learns nothing where it compares two variables.
            // SAFETY: a field of its own.
            let at = unsafe { (&raw const self.at).read_volatile() } as usize & (SEGMENT - 1);
            if at >= end {
                return;
            }
            let kind = self.byte(at);
            let len = match kind {
                kind::END => return,
                kind::NOP => 1,
                _ => usize::from(self.byte(at + 1)),
            };
            if len == 0 || at + len > end {
                return;
            }
            match (kind, len) {
                (kind::WINDOW_SCALE, 3) => {
                    self.offers |= offer::WINDOW_SCALE;
                    // RFC 7323 section 2.3.
                    let scale = self.byte(at + 2);
                    self.window_scale = if scale > 14 { 14 } else { scale.into() };
                }
                (kind::SACK_PERMITTED, 2) => self.offers |= offer::SACK,
                (kind::TIMESTAMPS, 10) => {
                    self.offers |= offer::TIMESTAMPS;
                    self.timestamp = u32::from_ne_bytes([
                        self.byte(at + 2),
                        self.byte(at + 3),
                        self.byte(at + 4),
                        self.byte(at + 5),
                    ]);
                }
                _ => {}
            }
            self.at = (at + len) as u64;
        }
    }
}

/// What a SYN-ACK is made of.
#[derive(Clone, Copy, Debug)]
pub struct SynAck {
    pub server_port: u16,
    pub client_port: u16,
    pub cookie: u32,
    /// The client's initial sequence number, in host order.
    pub sequence: u32,
    /// What this host can receive.
    pub mss: u16,
    /// Flags of the client's SYN.
    pub flags: u8,
}

/// A TCP header as words in network order, and how many of them there are.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct TcpHeader {
    pub words: [u32; EXTENDED_LEN / 4],
    pub is_extended: bool,
}

impl SynAck {
    /// The TCP header, without checksum. `settings` are bits of [`guard_flags`], `scale` is the
    /// window scale of this host, `now_ns` the monotonic clock.
    #[must_use]
    #[inline(always)]
    pub fn header(&self, offered: &Scratch, settings: u32, scale: u32, now_ns: u64) -> TcpHeader {
        let mut words = [0; EXTENDED_LEN / 4];
        words[0] = (u32::from(self.server_port) << 16 | u32::from(self.client_port)).to_be();
        words[1] = self.cookie.to_be();
        words[2] = self.sequence.wrapping_add(1).to_be();
        words[5] = (0x0204_0000 | u32::from(self.mss)).to_be();
        let is_extended =
            settings & guard_flags::TIMESTAMPS != 0 && offered.offers & offer::TIMESTAMPS != 0;
        let mut flags = flag::SYN | flag::ACK;
        let mut data_offset = PLAIN_LEN as u32 / 4;
        if is_extended {
            data_offset = EXTENDED_LEN as u32 / 4;
            // No window scale is told as 15.
            let mut options = 15;
            words[9] = 0x0101_0101;
            if settings & guard_flags::WINDOW_SCALING != 0
                && offered.offers & offer::WINDOW_SCALE != 0
            {
                options = offered.window_scale as u32 & 15;
                words[9] = (0x0103_0300 | (scale & 15)).to_be();
            }
            words[6] = 0x0101_080a_u32.to_be();
            if settings & guard_flags::SACK != 0 && offered.offers & offer::SACK != 0 {
                options |= 1 << 4;
                words[6] = 0x0402_080a_u32.to_be();
            }
            // RFC 3168 section 6.1.1.
            if settings & guard_flags::ECN != 0
                && self.flags & (flag::ECE | flag::CWR) == flag::ECE | flag::CWR
            {
                options |= 1 << 5;
                flags |= flag::ECE;
            }
            words[7] = timestamp(now_ns, options).to_be();
            words[8] = offered.timestamp;
        }
        // The window is the largest without scale: the kernel tells its own in the next segment.
        words[3] = (data_offset << 28 | u32::from(flags) << 16 | 0xffff).to_be();
        TcpHeader { words, is_extended }
    }
}

/// Milliseconds, as the kernel counts them with `tcp_timestamps=2`, with `options` in the low six
/// bits and never in the future.
#[inline(always)]
const fn timestamp(now_ns: u64, options: u32) -> u32 {
    let now = (now_ns / 1_000_000) as u32;
    let stamp = now & !63 | options;
    if stamp > now {
        stamp.wrapping_sub(64)
    } else {
        stamp
    }
}

#[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
impl TcpHeader {
    /// The header's length in bytes.
    #[must_use]
    #[inline(always)]
    pub const fn len(&self) -> usize {
        if self.is_extended {
            EXTENDED_LEN
        } else {
            PLAIN_LEN
        }
    }

    /// Sets the checksum; `pseudo` is the sum of the addresses' words.
    #[inline(always)]
    pub fn seal(&mut self, pseudo: u64) {
        let mut sum =
            pseudo + u64::from(PROTOCOL_TCP.to_be()) + u64::from((self.len() as u32).to_be());
        // Words of the longer form are 0 in the shorter.
        for word in self.words {
            sum += u64::from(word);
        }
        let [high, low] = fold(sum).to_ne_bytes();
        self.words[4] = u32::from_ne_bytes([high, low, 0, 0]);
    }
}

const PROTOCOL_TCP: u32 = 6;
const HOP_LIMIT: u32 = 64;

/// The Internet checksum (RFC 1071) of a sum of words in network order, in network order.
#[must_use]
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let mut sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    let mut sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

/// One of an address' four words in network order.
#[must_use]
#[inline(always)]
pub const fn word(address: &[u8; 16], at: usize) -> u32 {
    u32::from_ne_bytes([
        address[at * 4],
        address[at * 4 + 1],
        address[at * 4 + 2],
        address[at * 4 + 3],
    ])
}

/// The sum of the words of two addresses of IPv6.
#[must_use]
#[inline(always)]
pub const fn sum_v6(one: &[u8; 16], other: &[u8; 16]) -> u64 {
    word(one, 0) as u64
        + word(one, 1) as u64
        + word(one, 2) as u64
        + word(one, 3) as u64
        + word(other, 0) as u64
        + word(other, 1) as u64
        + word(other, 2) as u64
        + word(other, 3) as u64
}

/// The sum of the words of two mapped addresses of IPv4.
#[must_use]
#[inline(always)]
pub const fn sum_v4(one: &[u8; 16], other: &[u8; 16]) -> u64 {
    word(one, 3) as u64 + word(other, 3) as u64
}

/// The words of an IPv4 header in network order, aligned for copies of eight bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Ipv4Header(pub [u32; 5]);

/// An IPv4 header, complete; addresses as in a flow key.
#[must_use]
#[inline(always)]
pub fn v4(from: &[u8; 16], to: &[u8; 16], payload: usize) -> Ipv4Header {
    let mut words = [
        (0x4500_0000 | (20 + payload as u32)).to_be(),
        // Do not fragment.
        0x4000_u32.to_be(),
        (HOP_LIMIT << 24 | PROTOCOL_TCP << 16).to_be(),
        word(from, 3),
        word(to, 3),
    ];
    let sum = words[0] as u64 + words[1] as u64 + words[2] as u64 + sum_v4(from, to);
    let [high, low] = fold(sum).to_ne_bytes();
    words[2] = u32::from_ne_bytes([HOP_LIMIT as u8, PROTOCOL_TCP as u8, high, low]);
    Ipv4Header(words)
}

/// An IPv6 header, in pairs of words: of single ones the compiler makes accesses that are not
/// aligned.
#[must_use]
#[inline(always)]
pub fn v6(from: &[u8; 16], to: &[u8; 16], payload: usize) -> [u64; 5] {
    let fixed = 0x6000_0000_0000_0000
        | (payload as u64) << 16
        | u64::from(PROTOCOL_TCP) << 8
        | u64::from(HOP_LIMIT);
    let ([from_high, from_low], [to_high, to_low]) = (pairs(from), pairs(to));
    [fixed.to_be(), from_high, from_low, to_high, to_low]
}

/// An address as two words in network order.
#[must_use]
#[inline(always)]
pub const fn pairs(address: &[u8; 16]) -> [u64; 2] {
    let [high @ .., _, _, _, _, _, _, _, _] = *address;
    let [_, _, _, _, _, _, _, _, low @ ..] = *address;
    [u64::from_ne_bytes(high), u64::from_ne_bytes(low)]
}
