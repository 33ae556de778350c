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
        LinkType::Ppp => ppp(data)?,
    };
    layer::network(data, at, next)
}

fn ethertype(data: &[u8], at: usize, short: &'static str) -> Result<Next, Stop> {
    let kind = read(data, at).ok_or(Stop::Short(short))?;
    Ok(Next::Ethertype(u16::from_be_bytes(*kind)))
}

/// RFC 1547 section 4.3.1: Cisco's framing has an ethertype behind an address for one or for all, and a
/// byte of zero. RFC 1662's is found further on.
fn ppp(data: &[u8]) -> Result<(usize, Next), Stop> {
    match read(data, 0) {
        Some([0x0f | 0x8f, 0]) => Ok((4, ethertype(data, 2, "decoder.chdlc.pkt_too_small")?)),
        _ => Ok((0, Next::Ppp)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ppp_leads_to_ip_however_it_is_framed() {
        const IP: [u8; 4] = [0x45, 0, 0, 20];
        for (header, expected) in [
            (&[0xff, 0x03, 0x00, 0x21][..], Ok(4)),
            (&[0xff, 0x03, 0x57], Ok(3)),
            (&[0x00, 0x21], Ok(2)),
            (&[0x21], Ok(1)),
            // Cisco's, to one and to all.
            (&[0x0f, 0x00, 0x08, 0x00], Ok(4)),
            (&[0x8f, 0x00, 0x86, 0xdd], Ok(4)),
            // A link's negotiation, and Cisco's keep-alive.
            (&[0xff, 0x03, 0xc0, 0x21], Err(Stop::NonIp)),
            (&[0x8f, 0x00, 0x80, 0x35], Err(Stop::NonIp)),
        ] {
            let frame = [header, &IP].concat();
            let found = network(LinkType::Ppp, &frame).map(|found| found.offset);
            assert_eq!(found, expected, "{header:x?}");
        }
        for (cut, name) in [
            (&[0xff, 0x03][..], "decoder.ppp.pkt_too_small"),
            (&[0x0f, 0x00, 0x08], "decoder.chdlc.pkt_too_small"),
        ] {
            let stop = network(LinkType::Ppp, cut).unwrap_err();
            assert_eq!(stop, Stop::Short(name));
        }
    }
}
