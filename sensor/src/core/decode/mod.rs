//! From a frame to the flow keys of the packets in it: link layers and tunnels here, IP and above
//! by the one parser that the kernel runs, too. etherparse names what is wrong where that parser
//! gives up.

mod anomaly;
mod checksum;
mod extensions;
mod layer;
mod link;
mod options;
mod tunnel;

use std::ops::Range;

use sensor_ebpf::abi::{FlowKey, UnparsedReason};
use sensor_ebpf::parse::{Headers, Origin, Unkeyed};

pub(crate) use self::anomaly::name as anomaly;
pub(crate) use self::checksum::{
    Checksum, network as network_checksum, transport as transport_checksum,
};
pub(crate) use self::extensions::fragmentable;
use self::layer::Network;
pub(crate) use self::tunnel::{Kind as TunnelKind, inner, may_be_tunnel};
use super::flow::tcp::Segment;
use super::frame::{self, Frame, LinkType};

/// A packet within the bytes that were captured of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) key: FlowKey,
    pub(crate) headers: Headers,
    /// The kernel makes the same key of its frame: else it counts the frame as something else.
    pub(crate) in_kernel: bool,
}

/// Why no packet was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// There is something else than IP.
    NonIp,
    /// The parser gave up what may be IP.
    Unparsed(UnparsedReason),
    /// The bytes end within a header; an event's name.
    Short(&'static str),
    /// A header breaks its rules; an event's name.
    Wrong(&'static str),
}

impl Stop {
    /// The event's name, where the rules are broken.
    pub(crate) const fn name(self) -> Option<&'static str> {
        match self {
            Self::NonIp => None,
            Self::Unparsed(reason) => anomaly::of_reason(reason),
            Self::Short(name) | Self::Wrong(name) => Some(name),
        }
    }
}

impl From<UnparsedReason> for Stop {
    fn from(reason: UnparsedReason) -> Self {
        Self::Unparsed(reason)
    }
}

impl From<Unkeyed> for Stop {
    fn from(unkeyed: Unkeyed) -> Self {
        match unkeyed {
            Unkeyed::NonIp => Self::NonIp,
            Unkeyed::Unparsed(reason) => Self::Unparsed(reason),
        }
    }
}

/// The `N` bytes from `at` on, if they were captured.
fn read<const N: usize>(data: &[u8], at: usize) -> Option<&[u8; N]> {
    data.get(at..)?.first_chunk()
}

/// What the parser is told of a frame besides its bytes.
pub(crate) fn origin(origin: &frame::Origin) -> Origin {
    match *origin {
        frame::Origin::Capture { .. } => Origin::CAPTURE,
        frame::Origin::Sample {
            ifindex,
            direction,
            vlan,
            ..
        } => Origin {
            ifindex,
            direction,
            vlan: vlan.map(|(_, tci)| tci),
        },
    }
}

/// Finds the packet in a frame.
#[inline]
pub(crate) fn packet(frame: &Frame) -> Result<Packet, Stop> {
    let origin = origin(&frame.origin);
    if frame.link == LinkType::Ethernet {
        match sensor_ebpf::parse::ethernet(&frame.data, origin) {
            Ok((key, headers)) => {
                return Ok(Packet {
                    key,
                    headers,
                    in_kernel: true,
                });
            }
            // Labels and the like, which the kernel does not follow.
            Err(Unkeyed::NonIp) => {}
            Err(unkeyed) => return Err(unkeyed.into()),
        }
    }
    let network = link::network(frame.link, &frame.data)?;
    ip(&frame.data, &network, origin)
}

/// The packet whose IP header was found.
fn ip(data: &[u8], network: &Network, origin: Origin) -> Result<Packet, Stop> {
    let (key, headers) = sensor_ebpf::parse::ip(data, network.offset, origin, network.tags())?;
    Ok(Packet {
        key,
        headers,
        in_kernel: false,
    })
}

/// The packet that `datagram` is, which was put together of fragments of `of`: the link header's
/// VLAN ids and the device come from those.
pub(crate) fn reassembled(datagram: &[u8], of: &Packet, origin: Origin) -> Result<Packet, Stop> {
    use sensor_ebpf::abi::key_flags::{QINQ, VLAN};
    let (mut key, headers) = sensor_ebpf::parse::ip(datagram, 0, origin, &[])?;
    key.vlan = of.key.vlan;
    key.flags = key.flags & !(VLAN | QINQ) | of.key.flags & (VLAN | QINQ);
    Ok(Packet {
        key,
        headers,
        in_kernel: of.in_kernel,
    })
}

impl Packet {
    /// The captured part of the transport's payload: within the packet's length by its IP header,
    /// so that padding is none of it.
    #[inline]
    pub(crate) fn payload(&self, captured: usize) -> Range<usize> {
        let start = self.headers.payload.min(captured);
        start..self.headers.end.min(captured).max(start)
    }

    /// Length of the payload on the wire.
    #[inline]
    pub(crate) fn payload_len(&self, wire_len: u32) -> u32 {
        let end = self.headers.end.min(wire_len as usize);
        u32::try_from(end.saturating_sub(self.headers.payload)).unwrap_or(u32::MAX)
    }

    /// The TCP header's fields that streams are followed by. `None` where fewer than its 20 fixed
    /// bytes were captured, which the parser has ruled out.
    #[inline]
    pub(crate) fn segment(&self, data: &[u8], wire_len: u32) -> Option<Segment> {
        let header: &[u8; 20] = read(data, self.headers.transport)?;
        Some(Segment {
            seq: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ack: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            flags: header[13],
            window: u16::from_be_bytes([header[14], header[15]]),
            len: self.payload_len(wire_len),
        })
    }

    /// Whether the addresses are IPv6.
    pub(crate) const fn is_v6(&self) -> bool {
        self.key.flags & sensor_ebpf::abi::key_flags::IPV6 != 0
    }
}
