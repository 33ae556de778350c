//! What may lie between a link header and IP: VLAN tags, label stacks, PPPoE sessions, service
//! function headers. They belong to the frame: no tunnel, and no flow of their own.

mod mpls;
mod nsh;
mod ppp;

use sensor_ebpf::abi::UnparsedReason;
use sensor_ebpf::parse::MAX_VLAN_TAGS;

use super::{Stop, read};

/// Headers that are followed besides VLAN tags.
const MAX_HEADERS: usize = 8;

/// What a header says comes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// IPv4 or IPv6, told by its first four bits.
    Ip,
    Ethernet,
    /// What IEEE's registry has under this number.
    Ethertype(u16),
    Mpls,
    Ppp,
    Nsh,
}

/// Where an IP header is, and which VLAN tags went before it.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) offset: usize,
    tags: [u16; MAX_VLAN_TAGS],
    count: usize,
}

impl Network {
    /// TCIs, outermost first.
    pub(super) fn tags(&self) -> &[u16] {
        &self.tags[..self.count]
    }

    fn push(&mut self, tci: u16) -> Result<(), Stop> {
        let Some(tag) = self.tags.get_mut(self.count) else {
            return Err(UnparsedReason::VlanDepth.into());
        };
        *tag = tci;
        self.count += 1;
        Ok(())
    }
}

/// Follows headers from `at` on, where `next` is, up to an IP header.
pub(super) fn network(data: &[u8], at: usize, mut next: Next) -> Result<Network, Stop> {
    let mut found = Network {
        offset: at,
        tags: [0; MAX_VLAN_TAGS],
        count: 0,
    };
    for _ in 0..MAX_HEADERS + MAX_VLAN_TAGS {
        let at = found.offset;
        (found.offset, next) = match next {
            Next::Ip => return Ok(found),
            Next::Ethernet => {
                let header: &[u8; 14] =
                    read(data, at).ok_or(Stop::Short("decoder.ethernet.pkt_too_small"))?;
                (at + 14, ethertype(header[12], header[13]))
            }
            Next::Ethertype(0x0800 | 0x86dd) => (at, Next::Ip),
            // IEEE 802.1Q, 802.1ad, and Q-in-Q before its standard.
            Next::Ethertype(0x8100 | 0x88a8 | 0x9100) => {
                let tag: &[u8; 4] =
                    read(data, at).ok_or(Stop::Short("decoder.vlan.header_too_small"))?;
                found.push(u16::from_be_bytes([tag[0], tag[1]]))?;
                (at + 4, ethertype(tag[2], tag[3]))
            }
            // Unicast and multicast, RFC 3032 section 5.
            Next::Ethertype(0x8847 | 0x8848) => (at, Next::Mpls),
            Next::Ethertype(0x8864) => ppp::session(data, at)?,
            Next::Ethertype(0x880b) => (at, Next::Ppp),
            Next::Ethertype(0x894f) => (at, Next::Nsh),
            // Transparent Ethernet bridging (RFC 1701, RFC 7637).
            Next::Ethertype(0x6558) => (at, Next::Ethernet),
            Next::Ethertype(_) => return Err(Stop::NonIp),
            Next::Mpls => mpls::payload(data, at)?,
            Next::Ppp => ppp::payload(data, at)?,
            Next::Nsh => nsh::payload(data, at)?,
        };
    }
    Err(Stop::Wrong("decoder.too_many_layers"))
}

fn ethertype(high: u8, low: u8) -> Next {
    Next::Ethertype(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests;
