use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Classes of `sensor_packets_total{protocol}`, and of the overflow counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ProtocolClass {
    Tcp = 0,
    Udp = 1,
    Icmp = 2,
    Icmpv6 = 3,
    Sctp = 4,
    OtherIp = 5,
}

/// Label values, in the order of [`ProtocolClass`].
pub const PROTOCOL_CLASSES: [&str; 6] = ["tcp", "udp", "icmp", "icmpv6", "sctp", "other_ip"];

impl ProtocolClass {
    /// The class of an IP protocol number.
    #[must_use]
    #[inline(always)]
    pub const fn of(protocol: u8) -> Self {
        match protocol {
            6 => Self::Tcp,
            17 => Self::Udp,
            1 => Self::Icmp,
            58 => Self::Icmpv6,
            132 => Self::Sctp,
            _ => Self::OtherIp,
        }
    }
}

/// Why the parser gave up on a packet. Such packets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UnparsedReason {
    /// The frame ends within a header.
    Truncated = 0,
    /// More VLAN tags than the parser follows.
    VlanDepth = 1,
    /// An IPv4 header with a wrong version or a length below 20 bytes.
    BadIpv4 = 2,
    /// An IPv6 header with a wrong version.
    BadIpv6 = 3,
    /// More IPv6 extension headers than the parser follows.
    ExtensionDepth = 4,
    /// Device without a slot: attached, but unknown to the totals.
    UnknownDevice = 5,
}

/// Label values, in the order of [`UnparsedReason`].
pub const UNPARSED_REASONS: [&str; 6] = [
    "truncated",
    "vlan_depth",
    "bad_ipv4",
    "bad_ipv6",
    "extension_depth",
    "unknown_device",
];

/// Why a packet was dropped, by [`Totals::dropped_by`], or would have been, by
/// [`Totals::would_drop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DropReason {
    /// Mirror port: every frame is dropped once it is counted.
    Tap = 0,
    /// The source address stands on the block list.
    BlockAddress = 1,
    /// The source address lies in a prefix on the block list.
    BlockPrefix = 2,
    /// The destination port stands on the block list.
    BlockPort = 3,
    /// First SYN of an unknown client, whose retransmission will be admitted.
    FirstSyn = 4,
    /// The source sends more SYNs than it may.
    SourceRate = 5,
    /// The destination under attack gets more SYNs than it may.
    DestinationRate = 6,
    /// A cookie was due, and no more SYN-ACKs may be sent.
    SynAckRate = 7,
    /// Segment to a destination under attack that belongs to no connection.
    OutOfState = 8,
}

/// Label values, in the order of [`DropReason`].
pub const DROP_REASONS: [&str; 9] = [
    "tap",
    "block_address",
    "block_prefix",
    "block_port",
    "first_syn",
    "source_rate",
    "destination_rate",
    "synack_rate",
    "out_of_state",
];

/// Per CPU, generation, device and direction. The terms of the law of accounting:
/// `runs = Σ flow entries' packets + Σ overflow + non_ip + Σ unparsed + Σ suppressed`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Totals {
    /// Packets that the program was run for, counted before anything else.
    pub runs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that are not IP.
    pub non_ip: u64,
    pub non_ip_bytes: u64,
    /// Packets that guard or lists keep out of the flow table: all that they drop or answer, and
    /// bare SYNs that pass to a destination under attack.
    /// By [`ProtocolClass`].
    pub suppressed: [u64; 6],
    pub suppressed_bytes: [u64; 6],
    /// TCP segments with SYN and without ACK.
    pub syn: u64,
    /// Samples written to a ring.
    pub sampled: u64,
    /// Samples that were wanted and lost, by `SampleLoss`.
    pub sample_lost: [u64; 4],
    /// Packets that found no room in the flow table, by [`ProtocolClass`].
    pub overflow: [u64; 6],
    pub overflow_bytes: [u64; 6],
    /// Packets that were not parsed, by [`UnparsedReason`].
    pub unparsed: [u64; 6],
    pub unparsed_bytes: [u64; 6],
    /// Verdicts other than "pass", XDP only; what passed is `runs - dropped - transmitted`.
    pub dropped: u64,
    pub dropped_bytes: u64,
    pub transmitted: u64,
    pub transmitted_bytes: u64,
    /// Dropped packets by [`DropReason`]; they add up to `dropped`.
    pub dropped_by: [u64; 9],
    /// Packets that passed and that a dry run or the guard's monitor mode would have dropped.
    pub would_drop: [u64; 9],
    /// Packets that passed and that the guard's monitor mode would have answered by a cookie.
    pub would_transmit: u64,
    /// SYN cookies sent.
    pub syncookies: u64,
}

impl Totals {
    /// Packets with the verdict "pass".
    #[must_use]
    pub const fn passed(&self) -> u64 {
        self.runs
            .wrapping_sub(self.dropped)
            .wrapping_sub(self.transmitted)
    }

    /// Bytes of [`passed`](Self::passed).
    #[must_use]
    pub const fn passed_bytes(&self) -> u64 {
        self.bytes
            .wrapping_sub(self.dropped_bytes)
            .wrapping_sub(self.transmitted_bytes)
    }
}
