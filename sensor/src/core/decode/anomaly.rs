//! What to call what the parser gave up, in Suricata's names for decoder events.

use etherparse::err::packet::SliceError;
use etherparse::{LaxSlicedPacket, err};
use sensor_ebpf::abi::UnparsedReason;

use super::Stop;
use crate::core::frame::{Frame, LinkType};

/// The event for a frame without a packet; `None` where it is none of IP's, or where the
/// capture's own cut explains it, and nobody is to blame.
pub(crate) fn name(frame: &Frame, stop: Stop) -> Option<&'static str> {
    let reason = match stop {
        Stop::NonIp => return None,
        Stop::Wrong(name) => return Some(name),
        Stop::Short(name) => return (!is_cut(frame)).then_some(name),
        Stop::Unparsed(reason) => reason,
    };
    if let Some(name) = of_reason(reason) {
        return Some(name);
    }
    if reason == UnparsedReason::UnknownDevice || is_cut(frame) {
        return None;
    }
    match frame.link {
        LinkType::Ethernet => match LaxSlicedPacket::from_ethernet(&frame.data) {
            Err(_) => Some("decoder.ethernet.pkt_too_small"),
            Ok(packet) => of_lax(&packet),
        },
        LinkType::RawIp => match LaxSlicedPacket::from_ip(&frame.data) {
            Err(_) => Some("decoder.raw.invalid_ip_version"),
            Ok(packet) => of_lax(&packet),
        },
        LinkType::LinuxSll => Some("decoder.sll.pkt_too_small"),
        LinkType::LinuxSll2 => Some("decoder.sll2.pkt_too_small"),
        LinkType::Loopback => Some("decoder.null.pkt_too_small"),
        LinkType::Ppp => Some("decoder.ppp.pkt_too_small"),
    }
}

/// The same for an IP packet within another.
pub(super) fn of_ip(data: &[u8], reason: UnparsedReason) -> Stop {
    if let Some(name) = of_reason(reason) {
        return Stop::Wrong(name);
    }
    if reason == UnparsedReason::BadIpv4 {
        return Stop::Wrong("decoder.ipv4.hlen_too_small");
    }
    let is_v6 = data.first().is_some_and(|first| first >> 4 == 6);
    Stop::Short(match LaxSlicedPacket::from_ip(data) {
        Ok(packet) => of_lax(&packet).unwrap_or(if is_v6 {
            "decoder.ipv6.trunc_pkt"
        } else {
            "decoder.ipv4.trunc_pkt"
        }),
        Err(_) if is_v6 => "decoder.ipv6.pkt_too_small",
        Err(_) => "decoder.ipv4.pkt_too_small",
    })
}

/// Reasons that say it all.
pub(super) const fn of_reason(reason: UnparsedReason) -> Option<&'static str> {
    match reason {
        UnparsedReason::VlanDepth => Some("decoder.vlan.too_many_layers"),
        UnparsedReason::ExtensionDepth => Some("decoder.ipv6.too_many_exthdrs"),
        UnparsedReason::BadIpv6 => Some("decoder.ipv6.wrong_ip_version"),
        UnparsedReason::UnknownDevice | UnparsedReason::BadIpv4 | UnparsedReason::Truncated => None,
    }
}

const fn is_cut(frame: &Frame) -> bool {
    frame.wire_len as usize > frame.data.len()
}

/// The event for the layer at which etherparse stopped.
fn of_lax(packet: &LaxSlicedPacket<'_>) -> Option<&'static str> {
    let (error, _) = packet.stop_err.as_ref()?;
    Some(match error {
        SliceError::Len(error) => of_layer(error.layer),
        SliceError::Ip(err::ip::HeaderError::Ipv4HeaderLengthSmallerThanHeader { .. })
        | SliceError::Ipv4(err::ipv4::HeaderError::HeaderLengthSmallerThanHeader { .. }) => {
            "decoder.ipv4.hlen_too_small"
        }
        SliceError::Ipv4(err::ipv4::HeaderError::UnexpectedVersion { .. })
        | SliceError::Ip(err::ip::HeaderError::UnsupportedIpVersion { .. }) => {
            "decoder.ipv4.wrong_ip_version"
        }
        SliceError::Ipv6(_) => "decoder.ipv6.wrong_ip_version",
        SliceError::Tcp(_) => "decoder.tcp.hlen_too_small",
        _ => "decoder.ipv4.trunc_pkt",
    })
}

const fn of_layer(layer: err::Layer) -> &'static str {
    use err::Layer;
    match layer {
        Layer::Ethernet2Header => "decoder.ethernet.pkt_too_small",
        Layer::VlanHeader => "decoder.vlan.header_too_small",
        Layer::Ipv6Header => "decoder.ipv6.pkt_too_small",
        Layer::Ipv6Packet | Layer::Ipv6ExtHeader | Layer::Ipv6FragHeader => {
            "decoder.ipv6.trunc_pkt"
        }
        Layer::Ipv4Header => "decoder.ipv4.pkt_too_small",
        Layer::TcpHeader => "decoder.tcp.pkt_too_small",
        Layer::UdpHeader | Layer::UdpPayload => "decoder.udp.pkt_too_small",
        Layer::Icmpv4 => "decoder.icmpv4.pkt_too_small",
        Layer::Icmpv6 => "decoder.icmpv6.pkt_too_small",
        _ => "decoder.ipv4.trunc_pkt",
    }
}
