//! What the engine is fed with: frames from a capture or a sample ring.

use bytes::Bytes;

use super::time::Timestamp;

/// How the first byte of a frame is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    Ethernet,
    /// IPv4 or IPv6 without a link header.
    RawIp,
    /// `LINKTYPE_LINUX_SLL`.
    LinuxSll,
    /// `LINKTYPE_LINUX_SLL2`.
    LinuxSll2,
    /// `LINKTYPE_NULL` (host byte order of the capturing machine) or `LINKTYPE_LOOP`.
    Loopback,
    /// `LINKTYPE_PPP` and `LINKTYPE_PPP_HDLC`: PPP, with HDLC-like framing or without, or Cisco's
    /// framing.
    Ppp,
}

/// Where a frame comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The capture file's packet with this number, from 1 (`pcap_cnt`). Counts come from frames.
    Capture { number: u64 },
    /// A sample: counts come from drains, and gaps are the rule.
    Sample {
        /// Generation that counted it.
        epoch: u64,
        /// Its number within flow and generation, from 1; 0 if it has no flow entry.
        number: u64,
        /// Packets that it stands for (GSO).
        segments: u16,
        ifindex: u32,
        direction: sensor_ebpf::abi::Direction,
        /// VLAN tag from metadata: ethertype and TCI.
        vlan: Option<(u16, u16)>,
    },
}

/// A sample's place in its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) epoch: u64,
    pub(crate) number: u64,
    pub(crate) segments: u16,
    pub(crate) direction: sensor_ebpf::abi::Direction,
    /// Which flow the kernel counted it for; `None` if that is the packet's own.
    pub(crate) counted_for: Option<u64>,
}

/// A frame with the time at which it was seen.
#[derive(Clone, Debug)]
pub struct Frame {
    pub time: Timestamp,
    pub link: LinkType,
    pub origin: Origin,
    /// Bytes on the wire, without FCS; at least `data.len()`.
    pub wire_len: u32,
    /// The captured bytes, perhaps fewer than were on the wire.
    pub data: Bytes,
}
