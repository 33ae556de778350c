//! From a frame to the flow key of its packet: link layers here, IP and above by the one parser
//! that the kernel runs, too. etherparse names what is wrong where that parser gives up.

mod anomaly;
mod link;
mod tunnel;

use std::ops::Range;

use sensor_ebpf::abi::FlowKey;
use sensor_ebpf::parse::{Headers, Origin, Unkeyed};

pub(crate) use self::anomaly::name as anomaly;
pub(crate) use self::tunnel::inner;
use super::flow::tcp::Segment;
use super::frame::{self, Frame, LinkType};

/// A packet within the bytes that were captured of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) key: FlowKey,
    pub(crate) headers: Headers,
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
pub(crate) fn packet(frame: &Frame) -> Result<Packet, Unkeyed> {
    let origin = origin(&frame.origin);
    let (key, headers) = match frame.link {
        LinkType::Ethernet => sensor_ebpf::parse::ethernet(&frame.data, origin)?,
        link => {
            let found = link::network(link, &frame.data)?;
            sensor_ebpf::parse::ip(&frame.data, found.offset, origin, found.tags())?
        }
    };
    Ok(Packet { key, headers })
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
        let header: &[u8; 20] = data.get(self.headers.transport..)?.first_chunk()?;
        Some(Segment {
            seq: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ack: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            flags: header[13],
            window: u16::from_be_bytes([header[14], header[15]]),
            len: self.payload_len(wire_len),
        })
    }
}
