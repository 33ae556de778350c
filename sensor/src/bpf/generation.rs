//! A closed generation of counters.

use sensor_ebpf::abi::{Direction, Totals};

use crate::core::kernel::Drain;

/// Everything that the kernel counted between two flips of the epoch: complete and consistent.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The flows, with wall times, for the engine.
    pub drain: Drain,
    /// The totals of each device and direction.
    pub devices: Vec<DeviceTotals>,
    /// Entries in the flow table when it was closed.
    pub flow_entries: u32,
    /// Entries that the flow table can hold.
    pub flow_capacity: u32,
    /// The table was more than 70 % full, or full: the caller should halve its interval, and
    /// lengthen it again when this stays false.
    pub crowded: bool,
}

/// One device's and direction's share of a closed generation.
#[derive(Clone, Debug)]
pub struct DeviceTotals {
    /// The device's name.
    pub device: String,
    /// Its index.
    pub ifindex: u32,
    /// Received or sent.
    pub direction: Direction,
    /// What the programs counted, summed over all CPUs.
    pub totals: Totals,
    /// What the flow records add up to.
    pub flows: FlowSums,
    /// `|runs - (flows + overflow + non-IP + unparsed + suppressed)|` in packets: 0 by the law of
    /// accounting.
    pub difference: u64,
    /// The sum of `difference` for this device, over both directions, since it was first attached.
    pub difference_total: u64,
}

/// Sums over flow records, by [`sensor_ebpf::abi::ProtocolClass`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSums {
    /// Records.
    pub entries: u32,
    /// Their packets.
    pub packets: [u64; 6],
    /// Their bytes.
    pub bytes: [u64; 6],
}
