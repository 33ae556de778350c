//! Which checksums of a packet are verified, and what becomes of what they tell.

use sensor_ebpf::abi::Direction;

use super::found::Meta;
use crate::core::decode::{self, Checksum, Packet};
use crate::core::frame::Sample;
use crate::core::stats::ChecksumStats;

/// Packets of which no more bytes than these are under a checksum are always verified: summing up
/// all bytes of large ones is what would cost most in the whole engine.
const SMALL: usize = 64;
/// So many frames have one whose packets are verified however large they are.
pub(super) const VERIFIED_ONE_IN: u64 = 16;

/// What a packet's checksums tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checksums {
    pub(super) network: Checksum,
    pub(super) transport: Checksum,
}

impl Checksums {
    pub(super) const UNKNOWN: Self = Self {
        network: Checksum::Unknown,
        transport: Checksum::Unknown,
    };

    /// `all`: also of a large packet.
    #[inline]
    pub(super) fn of(packet: &Packet, data: &[u8], meta: &Meta, all: bool) -> Self {
        let is_unfinished =
            |sample: Sample| sample.direction == Direction::Egress || sample.segments > 1;
        // What a device is still to send, or has merged, has no checksum of its own yet.
        if meta.sample.is_some_and(is_unfinished) {
            return Self::UNKNOWN;
        }
        let is_fragment = packet.headers.fragment.is_some();
        let end = packet.headers.end.min(data.len());
        let is_small = end.saturating_sub(packet.headers.transport) <= SMALL;
        Self {
            network: decode::network_checksum(packet, data),
            // A fragment's is over its whole datagram.
            transport: if !is_fragment && (all || is_small) {
                decode::transport_checksum(packet, data)
            } else {
                Checksum::Unknown
            },
        }
    }

    /// Counts what checksums tell, and names what is wrong.
    #[inline]
    pub(super) fn judge(self, protocol: u8, stats: &mut ChecksumStats) -> Option<&'static str> {
        let Self { network, transport } = self;
        stats.verified += u64::from(transport != Checksum::Unknown);
        stats.offloaded += u64::from(transport == Checksum::Offloaded);
        let mut wrong = None;
        if network == Checksum::Wrong {
            stats.ipv4 += 1;
            wrong = Some("decoder.ipv4.invalid_checksum");
        }
        if transport == Checksum::Wrong {
            let (counter, name) = match protocol {
                6 => (&mut stats.tcp, "decoder.tcp.invalid_checksum"),
                17 => (&mut stats.udp, "decoder.udp.invalid_checksum"),
                1 => (&mut stats.icmpv4, "decoder.icmpv4.invalid_checksum"),
                _ => (&mut stats.icmpv6, "decoder.icmpv6.invalid_checksum"),
            };
            *counter += 1;
            wrong = Some(name);
        }
        wrong
    }
}
