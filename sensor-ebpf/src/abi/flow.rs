use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Which way a packet crossed the device, seen from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Direction {
    /// Received: counted by XDP.
    Ingress = 0,
    /// Sent: counted by the egress classifier.
    Egress = 1,
}

/// Bits of [`FlowKey::flags`].
pub mod key_flags {
    /// The addresses are IPv6 (an IPv4-mapped IPv6 address is not an IPv4 address).
    pub const IPV6: u16 = 1;
    /// A fragment other than the first: its ports are unknown and 0, never guessed.
    pub const FRAGMENT: u16 = 2;
    /// At least one VLAN tag was present (a priority tag has the VLAN id 0).
    pub const VLAN: u16 = 4;
    /// At least two VLAN tags were present.
    pub const QINQ: u16 = 8;
}

/// One direction of one flow on one device: the key of every flow table, 48 bytes.
///
/// Only this crate's parser makes keys, in the kernel and in user space alike. The verifier wants
/// every access to the stack aligned, and the compiler reads eight bytes at once where it can.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
// Compared and hashed by words.
#[repr(C, align(8))]
pub struct FlowKey {
    /// Source address; IPv4 as `::ffff:a.b.c.d`.
    pub src: [u8; 16],
    /// Destination address; IPv4 as `::ffff:a.b.c.d`.
    pub dst: [u8; 16],
    /// Source port, or the ICMP type. 0 where the protocol has none.
    pub src_port: u16,
    /// Destination port, or the ICMP code. 0 where the protocol has none.
    pub dst_port: u16,
    /// VLAN ids (12 bits), outer and inner; 0 without a tag, see [`key_flags`].
    pub vlan: [u16; 2],
    /// The device's index; 0 for frames of a capture file.
    pub ifindex: u32,
    /// IP protocol number, after IPv6 extension headers.
    pub protocol: u8,
    /// A [`Direction`].
    pub direction: u8,
    /// Bits of [`key_flags`].
    pub flags: u16,
}

impl FlowKey {
    /// The key as it lies in a little-endian machine's memory, for whoever compares or hashes it.
    ///
    /// Narrow fields are put together in registers: a wide load that follows narrow stores waits
    /// for all of them.
    #[must_use]
    #[inline(always)]
    pub fn words(&self) -> [u64; 6] {
        let word = |bytes: &[u8; 16], at: usize| {
            u64::from_le_bytes([
                bytes[at],
                bytes[at + 1],
                bytes[at + 2],
                bytes[at + 3],
                bytes[at + 4],
                bytes[at + 5],
                bytes[at + 6],
                bytes[at + 7],
            ])
        };
        let [outer, inner] = self.vlan;
        [
            word(&self.src, 0),
            word(&self.src, 8),
            word(&self.dst, 0),
            word(&self.dst, 8),
            u64::from(self.src_port)
                | u64::from(self.dst_port) << 16
                | u64::from(outer) << 32
                | u64::from(inner) << 48,
            u64::from(self.ifindex)
                | u64::from(self.protocol) << 32
                | u64::from(self.direction) << 40
                | u64::from(self.flags) << 48,
        ]
    }
}

/// Bits of [`FlowEntry::tcp_flags`] above the header's.
pub mod entry_flags {
    /// The guard's SYN cookie opened the connection, and this is the direction of who asked for
    /// it: neither SYN nor SYN-ACK was counted.
    pub const BY_COOKIE: u64 = 1 << 16;
}

/// What the kernel counts of one [`FlowKey`] within one generation, 64 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FlowEntry {
    // What an established flow's packet touches comes first, so that it shares a cache line.
    /// Packets; at egress a GSO frame counts as its segments.
    pub packets: u64,
    /// Frame bytes on the wire without FCS.
    pub bytes: u64,
    /// Kernel time (`CLOCK_MONOTONIC`, at the tick's granularity) of the last packet, nanoseconds.
    pub last_ns: u64,
    /// Sampling state, copied from and written through to `FLOW_STATE`:
    /// see [`crate::sampling::State`].
    pub state: u64,
    /// OR of the TCP flags seen, as in the header's 13th byte, low 8 bits; above them bits of
    /// [`entry_flags`].
    pub tcp_flags: u64,
    /// Kernel time of the first packet, nanoseconds.
    pub first_ns: u64,
    /// TCP segments with SYN and without ACK.
    pub syn: u32,
    /// TCP segments with SYN and ACK.
    pub syn_ack: u32,
    /// TCP segments with FIN.
    pub fin: u32,
    /// TCP segments with RST.
    pub rst: u32,
}
