//! Layouts that cross the border between kernel and user space: map keys, map values and ring
//! records. Every type is `repr(C)` without implicit padding (zerocopy refuses it at compile
//! time), all integers are in host order.
//!
//! A change of any layout or of a map's meaning moves [`VERSION`].

mod counters;
mod flow;
mod sample;
mod settings;

pub use counters::{PROTOCOL_CLASSES, ProtocolClass, Totals, UNPARSED_REASONS, UnparsedReason};
pub use flow::{Direction, FlowEntry, FlowKey, key_flags};
pub use sample::{SAMPLE_SIZES, SampleClass, SampleHeader, SampleLoss};
pub use settings::{Settings, mode};

/// Version of every layout in this module, stored in the manifest of the BPF object.
pub const VERSION: u32 = 1;

/// Two generations of flow tables and totals: one is counted into while the other is drained.
pub const GENERATIONS: usize = 2;

/// How many devices can be attached at once: the totals have one slot for each.
pub const MAX_DEVICES: usize = 32;

/// Names of the maps in the BPF object, as user space looks them up.
pub mod map {
    /// `ARRAY[65536]` of `DeviceSlot`-valued `u64`, indexed by `ifindex & 0xffff`:
    /// high half the ifindex, low half slot + 1; 0 where no device is attached.
    pub const DEVICES: &str = "DEVICES";
    /// `HASH<FlowKey, FlowEntry>`, preallocated, generation 0.
    pub const FLOWS_0: &str = "FLOWS_0";
    /// `HASH<FlowKey, FlowEntry>`, preallocated, generation 1.
    pub const FLOWS_1: &str = "FLOWS_1";
    /// `LRU_HASH<FlowKey, u64>`: sampling state that outlives a swap.
    pub const FLOW_STATE: &str = "FLOW_STATE";
    /// `PERCPU_ARRAY<Totals>`, indexed by `(generation * MAX_DEVICES + slot) * 2 + direction`.
    pub const TOTALS: &str = "TOTALS";
    /// `ARRAY[1]` of `Settings`.
    pub const SETTINGS: &str = "SETTINGS";
    /// `ARRAY[1]` of `u64`: the number of the generation that is counted into, from 1;
    /// its lowest bit selects the table.
    pub const EPOCH: &str = "EPOCH";
    /// Sample rings: `ARRAY_OF_MAPS` of `RINGBUF`, indexed by CPU.
    pub const RINGS: &str = "RINGS";
}

/// Names of the programs in the BPF object.
pub mod program {
    /// XDP, with multi-buffer frames.
    pub const XDP: &str = "sensor_xdp";
    /// The same on kernels or drivers without multi-buffer XDP.
    pub const XDP_LINEAR: &str = "sensor_xdp_linear";
    /// Egress classifier (TCX or clsact).
    pub const EGRESS: &str = "sensor_egress";
}
