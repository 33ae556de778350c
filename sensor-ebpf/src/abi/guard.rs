//! What the SYN-flood guard's programs and user space tell one another.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Entries of `DESTINATIONS` and of its counters.
pub const MAX_DESTINATIONS: usize = 1024;

/// Cells of `SYN_SKETCH`, in which SYNs are counted by destination to find suspects.
pub const SKETCH_CELLS: usize = 4096;

/// Entries of `SUSPECTS`.
pub const MAX_SUSPECTS: usize = 1024;

/// log2 of a window's length in nanoseconds; rates are held window by window (134 ms).
pub const WINDOW_SHIFT: u32 = 27;

/// Coefficients of the guard's hash.
pub const SEED_WORDS: usize = 12;

/// Entries of `BUDGETS`: one for SYN-ACKs, then two for each destination.
pub const BUDGETS: usize = 1 + 2 * MAX_DESTINATIONS;

/// An address and TCP port that may come under attack: key of `DESTINATIONS` and `SUSPECTS`.
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
pub struct DestinationKey {
    /// As in `FlowKey`: IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
    /// In host order.
    pub port: u16,
    pub _pad: u16,
}

/// What becomes of bare SYNs to a destination: [`Destination::method`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Method {
    /// They are counted and go the way of all packets.
    #[default]
    Watch = 0,
    /// A SYN cookie of the kernel answers them; where it cannot, as [`Retransmission`].
    ///
    /// [`Retransmission`]: Self::Retransmission
    Cookie = 1,
    /// The first SYN of an unknown client is dropped, its retransmission passes.
    Retransmission = 2,
    /// Each source may send so many ([`GuardSettings::source_per_second`]), and all of them
    /// together so many ([`Destination::syn_per_second`]).
    Rate = 3,
}

/// What user space has decided of a destination: value of `DESTINATIONS`, which the programs never
/// write.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Destination {
    /// Index into `DESTINATION_COUNTERS`, below [`MAX_DESTINATIONS`]. Assigned by the data plane.
    pub slot: u32,
    /// A [`Method`].
    pub method: u32,
    /// SYNs a second that [`Method::Rate`] lets pass, of all sources, rounded up to whole SYNs in
    /// each window; 0 for no such limit.
    pub syn_per_second: u32,
    /// None yet.
    pub flags: u32,
}

/// Bits of [`GuardSettings::flags`]: what a cookie may carry beyond the MSS, by the system's
/// settings. None of them counts without [`guard_flags::TIMESTAMPS`].
pub mod guard_flags {
    /// `net.ipv4.tcp_timestamps` is 2: timestamps without the per-connection offset that XDP
    /// cannot know, so that a cookie's can carry the other options.
    pub const TIMESTAMPS: u32 = 1;
    /// `net.ipv4.tcp_sack`.
    pub const SACK: u32 = 2;
    /// `net.ipv4.tcp_window_scaling`.
    pub const WINDOW_SCALING: u32 = 4;
    /// `net.ipv4.tcp_ecn` is not 0.
    pub const ECN: u32 = 8;
}

/// How the guard works: the value of `GUARD`. [`GuardSettings::DEFAULT`] is a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GuardSettings {
    /// Random coefficients of the hash. The data plane sets them once, whatever stands here.
    pub seed: [u64; SEED_WORDS],
    /// Blocks of `SYN_FILTER` less one. The data plane sets it, as the next two.
    pub syn_filter_mask: u32,
    /// Blocks of `SOURCES` less one.
    pub sources_mask: u32,
    /// Entries of `SOURCE_RATES` less one.
    pub source_rates_mask: u32,
    /// Bits of [`guard_flags`]. The data plane sets them from the system's settings.
    pub flags: u32,
    /// log2 of the scale of the window that the kernel will announce, for cookies with
    /// [`guard_flags::WINDOW_SCALING`]. The data plane sets it.
    pub window_scale: u32,
    /// SYNs within one window and on one CPU that make their destination a suspect; 0 for never.
    pub suspect_per_window: u32,
    /// [`Method::Rate`]: SYNs a second that one source may send; 0 for no such limit.
    pub source_per_second: u32,
    /// How many of them at once, at most [`GuardSettings::MAX_BURST`].
    pub source_burst: u32,
    /// Segments a second to one destination under attack that belong to no known connection;
    /// 0 for no limit.
    pub out_of_state_per_second: u32,
    /// SYN-ACKs a second that the host may send in answer to SYNs; 0 for no limit.
    pub synack_per_second: u32,
    /// A second SYN that comes sooner after the first is no proper retransmission.
    pub retransmission_min_ms: u32,
    /// Nor one that comes later. Below 200,000.
    pub retransmission_max_ms: u32,
    /// For how long a client whose retransmission was admitted is known. Below 4,000.
    pub validated_seconds: u32,
    /// For how long [`Method::Retransmission`] and [`Method::Rate`] go on without a sign of life
    /// in `HEARTBEAT`; 0 for ever.
    pub hold_seconds: u32,
}

impl GuardSettings {
    /// The largest [`source_burst`](Self::source_burst).
    pub const MAX_BURST: u32 = 60_000;

    /// Retransmissions after 0.7 to 4.5 s, as RFC 6298's first time-out of 1 s and its doubling
    /// give; 100 SYNs a second of one source.
    pub const DEFAULT: Self = Self {
        seed: [0; SEED_WORDS],
        syn_filter_mask: 0,
        sources_mask: 0,
        source_rates_mask: 0,
        flags: 0,
        window_scale: 0,
        suspect_per_window: 64,
        source_per_second: 100,
        source_burst: 100,
        out_of_state_per_second: 10_000,
        synack_per_second: 2_000_000,
        retransmission_min_ms: 700,
        retransmission_max_ms: 4_500,
        validated_seconds: 300,
        hold_seconds: 30,
    };
}

/// What the guard has seen of a destination and done for it, on one CPU, since its slot was given
/// to it.
///
/// Each of its SYNs is counted in `syn` and in exactly one of `passed`, `cookies`,
/// `first_dropped`, `source_limited`, `destination_limited` and `synack_limited`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct DestinationCounters {
    /// Bare SYNs, but for those that a block list has dropped.
    pub syn: u64,
    /// Their bytes.
    pub syn_bytes: u64,
    /// SYNs that passed, for whatever reason.
    pub passed: u64,
    /// SYNs that a cookie has answered.
    pub cookies: u64,
    /// SYNs that no cookie could answer, as nobody listens in the device's network namespace.
    pub cookie_no_listener: u64,
    /// SYNs that passed because the listener needs no cookies: its queue has room, or it refuses
    /// them (`tcp_syncookies=0`), or its accept queue is full.
    pub cookie_queue_open: u64,
    /// SYNs that no cookie could answer because of their form: IP options, extension headers,
    /// fragments, frames that cannot grow.
    pub cookie_ineligible: u64,
    /// SYNs dropped, as they are no proper retransmission.
    pub first_dropped: u64,
    /// Retransmissions that passed.
    pub retransmission_admitted: u64,
    /// SYNs that passed because their client had been admitted before.
    pub known_admitted: u64,
    /// SYNs dropped because their source sent too many.
    pub source_limited: u64,
    /// SYNs dropped because the destination got too many.
    pub destination_limited: u64,
    /// SYNs dropped because too many SYN-ACKs had been sent.
    pub synack_limited: u64,
    /// SYNs that passed because user space has been silent for too long.
    pub lapsed: u64,
    /// Segments dropped that belong to no connection.
    pub out_of_state: u64,
    /// Connections that began by the return of a cookie.
    pub cookie_admitted: u64,
    /// Handshakes that were completed; `cookie_admitted` is part of it.
    pub completed: u64,
    /// SYNs and other segments that passed in monitor mode and would have been dropped or answered.
    pub would_take: u64,
}

/// A cell of `SYN_SKETCH`: SYNs within the window that it was last used in.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SketchCell {
    /// Kernel time, shifted right by [`WINDOW_SHIFT`].
    pub window: u32,
    pub count: u32,
}

/// What one CPU holds of a budget that all of them share: value of `BUDGET_SHARES`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct BudgetShare {
    /// Window that the share belongs to.
    pub window: u32,
    /// What is left of it; `u32::MAX` where the whole budget is known to be spent.
    pub left: u32,
}
