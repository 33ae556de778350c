use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Sizes of the data part of a ring record; the last holds a full 1,518-byte frame with tags.
pub const SAMPLE_SIZES: [usize; 3] = [128, 512, 2048];

const _: () = {
    let [a, b, c] = SAMPLE_SIZES;
    // Whoever copies into them masks lengths.
    assert!(a.is_power_of_two() && b.is_power_of_two() && c.is_power_of_two());
};

/// Why a packet was sampled; each class has its own token budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SampleClass {
    /// Among the first N packets of its flow.
    First = 0,
    /// Port 53, 5353 or 5355.
    Dns = 1,
    /// TCP segment with SYN, FIN or RST.
    Control = 2,
    /// One in M of the rest.
    Rest = 3,
    /// `--sampling full`, or a flow of which user space wants more.
    Full = 4,
}

/// Why a wanted sample is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SampleLoss {
    /// The token budget of its class was spent.
    Budget = 0,
    /// The ring was full.
    RingFull = 1,
    /// The packet's bytes could not be read.
    Unreadable = 2,
    /// No ring for this CPU.
    NoRing = 3,
}

/// Head of every ring record; the captured bytes follow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SampleHeader {
    /// Kernel time (`CLOCK_MONOTONIC`), nanoseconds.
    pub time_ns: u64,
    /// Number of the generation that counted the packet, from 1.
    pub epoch: u64,
    /// The packet's number within its flow and generation, from 1; 0 where it has no flow entry.
    /// A GSO frame carries the number of its first segment.
    pub number: u64,
    /// Bytes of the frame on the wire.
    pub wire_len: u32,
    /// Bytes that follow this header.
    pub captured_len: u32,
    pub ifindex: u32,
    /// A `Direction`.
    pub direction: u8,
    /// A [`SampleClass`].
    pub class: u8,
    /// Packets that the frame stands for: 1, or the segments of a GSO frame.
    pub segments: u16,
    /// VLAN TCI from metadata, where the tag is not in the bytes; valid if `vlan_proto` is not 0.
    pub vlan_tci: u16,
    /// Its ethertype (0x8100 or 0x88a8), or 0.
    pub vlan_proto: u16,
    pub _pad: u32,
}
