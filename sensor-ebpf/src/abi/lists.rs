use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Entries that the lists can hold together, whichever map they lie in.
pub const LIST_ENTRIES: usize = 262_144;

/// Entries with a port that the lists can hold together.
pub const LIST_PORTS: usize = 65_536;

/// What the lists know of one address, prefix or port: the value of `LIST_EXACT`, `LIST_PREFIXES`
/// and `LIST_PORTS`, 48 bytes.
///
/// User space flattens nested entries: the value of a prefix contains those of all that cover it,
/// so that the longest match is the whole answer. Each time is one of `CLOCK_MONOTONIC` in
/// nanoseconds, at which it ends by itself; 0 where there is no such entry, [`u64::MAX`] for good.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ListEntry {
    /// Allowed until then. Allowing wins over blocking.
    pub allow_until_ns: u64,
    /// Blocked until then.
    pub block_until_ns: u64,
    /// Counted as if it were blocked until then.
    pub dry_until_ns: u64,
    /// Index into `LIST_HITS` of the entry that allows; what lies beyond the map is not counted.
    pub allow_hits: u32,
    /// Index into `LIST_HITS` of the entry that blocks.
    pub block_hits: u32,
    /// Index into `LIST_HITS` of the entry that would block.
    pub dry_hits: u32,
    /// Bits of [`list_flags`].
    pub flags: u32,
    /// Whose entry this is: [`crate::lists::owner`] of the key, 0 in `LIST_PREFIXES`. A hash table
    /// hands an element that was deleted to another key while a program may still read it.
    pub owner: u64,
}

/// Bits of [`ListEntry::flags`].
pub mod list_flags {
    /// The entry that blocks names a prefix, not one address.
    pub const BLOCKS_PREFIX: u32 = 1;
    /// The entry that would block names a prefix, not one address.
    pub const DRY_PREFIX: u32 = 2;
}

/// Value of `LIST_HITS`: the packets that one entry decided over, added by all CPUs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ListHits {
    /// Packets that a block entry dropped, that a dry run would have dropped, or that an allow
    /// entry saved from being dropped.
    pub packets: u64,
    /// Their frame bytes without FCS.
    pub bytes: u64,
    /// Kernel time (`CLOCK_MONOTONIC`, nanoseconds) of the last one.
    pub last_ns: u64,
}

/// Key of `LIST_PORTS`.
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
#[repr(C)]
pub struct ListPort {
    /// Destination port.
    pub port: u16,
    /// IP protocol number: 6 (TCP), 17 (UDP) or 132 (SCTP).
    pub protocol: u16,
}
