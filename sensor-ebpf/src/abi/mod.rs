//! Layouts that cross the border between kernel and user space: map keys, map values and ring
//! records. Every type is `repr(C)` without implicit padding (zerocopy refuses it at compile
//! time), all integers are in host order.
//!
//! A change of any layout or of a map's meaning moves [`VERSION`].

mod counters;
mod flow;
mod guard;
mod lists;
mod sample;
mod settings;
mod table;

pub use counters::{
    DROP_REASONS, DropReason, PROTOCOL_CLASSES, ProtocolClass, Totals, UNPARSED_REASONS,
    UnparsedReason,
};
pub use flow::{Direction, FlowEntry, FlowKey, entry_flags, key_flags};
pub use guard::{
    BUDGETS, BudgetShare, Destination, DestinationCounters, DestinationKey, GuardSettings,
    MAX_DESTINATIONS, MAX_SUSPECTS, Method, SEED_WORDS, SKETCH_CELLS, SketchCell, WINDOW_SHIFT,
    guard_flags,
};
pub use lists::{LIST_ENTRIES, LIST_PORTS, ListEntry, ListHits, ListPort, list_flags};
pub use sample::{SAMPLE_SIZES, SampleClass, SampleHeader, SampleLoss};
pub use settings::{FilterPrefix, GuardMode, Settings, mode};
pub use table::{
    FlowSet, FlowSlot, SETS_PER_WORD, SLOTS_PER_WORD, SlotTag, TableSize, WAYS, set_of,
};

/// Version of every layout in this module, stored in the manifest of the BPF object.
pub const VERSION: u32 = 2;

/// Two generations of flow tables and totals: one is counted into while the other is drained.
pub const GENERATIONS: usize = 2;

/// How many devices can be attached at once.
pub const MAX_DEVICES: usize = 32;

/// Slots of `TOTALS` per generation: slot 0 counts packets of devices that are not in `DEVICES`,
/// the attached devices have the slots 1 to `MAX_DEVICES`.
pub const TOTALS_SLOTS: usize = MAX_DEVICES + 1;

/// Size of `DEVICES`. Two attached devices whose indices agree modulo this size cannot be told
/// apart: user space refuses the second.
pub const DEVICES_SIZE: usize = 1 << 16;

/// Entries of `RINGS`: CPU `n` writes to ring `n % MAX_RINGS`.
pub const MAX_RINGS: usize = 256;

/// Index into `TOTALS`.
#[must_use]
#[inline(always)]
pub const fn totals_index(epoch: u64, slot: u32, direction: Direction) -> u32 {
    ((epoch as u32 & 1) * TOTALS_SLOTS as u32 + slot) * 2 + direction as u32
}

/// Value of `DEVICES` for a device in `slot` (1 to [`MAX_DEVICES`]).
#[must_use]
pub const fn device_entry(ifindex: u32, slot: u32) -> u64 {
    (ifindex as u64) << 32 | slot as u64
}

/// Names of the maps in the BPF object, as user space looks them up. Sizes of the flow tables
/// ([`TableSize`]), of `FLOW_STATE`, of the rings and of the guard's filters may be changed before
/// loading.
pub mod map {
    /// `ARRAY[DEVICES_SIZE]` of `u64`, indexed by `ifindex % DEVICES_SIZE`: a
    /// [`device_entry`](super::device_entry), or 0 where no device is attached.
    pub const DEVICES: &str = "DEVICES";
    /// `ARRAY<FlowSet>`, mapped into user space, of both generations: the sets of those with an
    /// even number, then those of the others.
    pub const FLOWS: &str = "FLOWS";
    /// `ARRAY<u64>`, mapped into user space: a bit for each slot of `FLOWS` in its order, set
    /// before the slot is filled; user space clears those of a generation that it has read.
    pub const FLOWS_USED: &str = "FLOWS_USED";
    /// `HASH<FlowKey, FlowEntry>`, preallocated: flows that met a full set, of generations with
    /// an even number.
    pub const SPILL_0: &str = "SPILL_0";
    /// The same of generations with an odd number.
    pub const SPILL_1: &str = "SPILL_1";
    /// `LRU_HASH<FlowKey, u64>`: sampling state that outlives a swap.
    pub const FLOW_STATE: &str = "FLOW_STATE";
    /// `PERCPU_ARRAY<Totals>`, indexed by [`totals_index`](super::totals_index).
    pub const TOTALS: &str = "TOTALS";
    /// `ARRAY[1]` of `Settings`.
    pub const SETTINGS: &str = "SETTINGS";
    /// `ARRAY[1]` of `u64`: the number of the generation that is counted into, from 1;
    /// its lowest bit selects the table.
    pub const EPOCH: &str = "EPOCH";
    /// Sample rings: `ARRAY_OF_MAPS` of `RINGBUF`, indexed by CPU; user space puts them in.
    pub const RINGS: &str = "RINGS";
    /// `LPM_TRIE<FilterPrefix, u8>`: addresses of the sampling filter.
    pub const FILTER_ADDRS: &str = "FILTER_ADDRS";
    /// `HASH<u16, u8>`: ports of the sampling filter.
    pub const FILTER_PORTS: &str = "FILTER_PORTS";
    /// `HASH<DestinationKey, Destination>`: what is under the guard's watch.
    pub const DESTINATIONS: &str = "DESTINATIONS";
    /// `PERCPU_ARRAY<DestinationCounters>`, indexed by `Destination::slot`.
    pub const DESTINATION_COUNTERS: &str = "DESTINATION_COUNTERS";
    /// `HASH<DestinationKey, u64>`: destinations with many SYNs, and the kernel time at which
    /// they were found.
    pub const SUSPECTS: &str = "SUSPECTS";
    /// `PERCPU_ARRAY<SketchCell>`, by a hash of the destination; private to the programs.
    pub const SYN_SKETCH: &str = "SYN_SKETCH";
    /// `ARRAY<FilterBlock>`, a power of two of them: SYNs that were dropped as first ones;
    /// private to the programs.
    pub const SYN_FILTER: &str = "SYN_FILTER";
    /// `ARRAY<FilterBlock>`, a power of two of them: clients that were admitted; private to the
    /// programs.
    pub const SOURCES: &str = "SOURCES";
    /// `ARRAY<u64>`, a power of two of them: token buckets of sources; private to the programs.
    pub const SOURCE_RATES: &str = "SOURCE_RATES";
    /// `ARRAY<u64>`: budgets that all CPUs share, of the SYN-ACKs and then of each destination's
    /// SYNs and out-of-state segments; private to the programs.
    pub const BUDGETS: &str = "BUDGETS";
    /// `PERCPU_ARRAY<BudgetShare>`, as `BUDGETS`; private to the programs.
    pub const BUDGET_SHARES: &str = "BUDGET_SHARES";
    /// `ARRAY[1]` of `GuardSettings`.
    pub const GUARD: &str = "GUARD";
    /// `ARRAY[1]` of `u64`: kernel time of user space's last judgement.
    pub const HEARTBEAT: &str = "HEARTBEAT";
    /// `HASH<[u8; 16], ListEntry>`: listed addresses, as in `FlowKey`, of which none is allowed.
    pub const LIST_EXACT: &str = "LIST_EXACT";
    /// `LPM_TRIE<FilterPrefix, ListEntry>`: listed prefixes, and allowed addresses.
    pub const LIST_PREFIXES: &str = "LIST_PREFIXES";
    /// `HASH<ListPort, ListEntry>`: listed ports.
    pub const LIST_PORTS: &str = "LIST_PORTS";
    /// `ARRAY[lists::index::WORDS]` of `u64`, for mmap(2): see [`crate::lists::index`].
    pub const LIST_INDEX: &str = "LIST_INDEX";
    /// `ARRAY[LIST_ENTRIES]` of `ListHits`: what each entry decided over.
    pub const LIST_HITS: &str = "LIST_HITS";
    /// `PERCPU_ARRAY[1]`, private to the programs: latch, token budgets, clock.
    pub const CPU: &str = "CPU";
}

/// Names of the constants that user space may set before loading.
pub mod constant {
    /// `u32`: sets of one generation in `FLOWS`, see [`TableSize`](super::TableSize).
    pub const FLOW_SETS: &str = "FLOW_SETS";
    /// `[u64; hash::FLOW_SEED_WORDS]`: the key of the hash that chooses a flow's slot. Random, or a
    /// sender who knows it can fill a set.
    pub const FLOW_SEED: &str = "FLOW_SEED";
}

/// Names of the programs in the BPF object.
pub mod program {
    /// XDP, with multi-buffer frames.
    pub const XDP: &str = "sensor_xdp";
    /// The same on kernels or drivers without multi-buffer XDP.
    pub const XDP_LINEAR: &str = "sensor_xdp_linear";
    /// Egress classifier (TCX or clsact).
    pub const EGRESS: &str = "sensor_egress";
    /// Ingress classifier of passive mode (TCX).
    pub const INGRESS: &str = "sensor_ingress";
}
