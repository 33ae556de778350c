//! What the engine is told of a closed generation of kernel counters.

use sensor_ebpf::abi::FlowKey;

use super::time::Timestamp;

/// One flow direction's exact counts within one generation, times already on the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct KernelFlow {
    pub key: FlowKey,
    pub packets: u64,
    pub bytes: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    /// OR of the TCP flags.
    pub tcp_flags: u8,
    pub syn: u32,
    pub syn_ack: u32,
    pub fin: u32,
    pub rst: u32,
    /// The guard's SYN cookie opened the connection, and the source is who asked for it: no SYN
    /// and no SYN-ACK was counted.
    pub by_cookie: bool,
}

/// A closed generation: complete, exact, in no particular order.
#[derive(Clone, Debug)]
pub struct Drain {
    pub epoch: u64,
    /// No packet of this generation is later.
    pub closed: Timestamp,
    pub flows: Vec<KernelFlow>,
}
