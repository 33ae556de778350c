//! Link headers other than Ethernet's.

use super::layer::{self, Network, Next};
use super::{Stop, read};
use crate::core::frame::LinkType;

/// Reads the link header of a frame, and whatever else is before its IP header.
pub(super) fn network(link: LinkType, data: &[u8]) -> Result<Network, Stop> {
    let (at, next) = match link {
        LinkType::Ethernet => (0, Next::Ethernet),
        LinkType::RawIp => (0, Next::Ip),
        LinkType::LinuxSll => (16, ethertype(data, 14, "decoder.sll.pkt_too_small")?),
        LinkType::LinuxSll2 => (20, ethertype(data, 0, "decoder.sll2.pkt_too_small")?),
        LinkType::Loopback => (4, loopback(data)?),
    };
    layer::network(data, at, next)
}

fn ethertype(data: &[u8], at: usize, short: &'static str) -> Result<Next, Stop> {
    let kind = read(data, at).ok_or(Stop::Short(short))?;
    Ok(Next::Ethertype(u16::from_be_bytes(*kind)))
}

/// Four bytes of address family, in the byte order of the machine that captured.
fn loopback(data: &[u8]) -> Result<Next, Stop> {
    let family = read(data, 0).ok_or(Stop::Short("decoder.null.pkt_too_small"))?;
    let family = u32::from_le_bytes(*family);
    // A family is small: in the wrong order it is not.
    match if family > 0xffff {
        family.swap_bytes()
    } else {
        family
    } {
        // AF_INET everywhere; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin.
        2 | 10 | 24 | 28 | 30 => Ok(Next::Ip),
        _ => Err(Stop::NonIp),
    }
}
