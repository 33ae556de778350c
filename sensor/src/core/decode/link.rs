//! Link headers other than Ethernet's.

use sensor_ebpf::abi::UnparsedReason;
use sensor_ebpf::parse::{MAX_VLAN_TAGS, Unkeyed};

use crate::core::frame::LinkType;

/// Where the IP header is, and which VLAN tags went before it.
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
}

/// Reads the link header of a frame.
pub(super) fn network(link: LinkType, data: &[u8]) -> Result<Network, Unkeyed> {
    match link {
        LinkType::Ethernet => ethertype(data, 12, 14),
        LinkType::RawIp => Ok(Network {
            offset: 0,
            tags: [0; MAX_VLAN_TAGS],
            count: 0,
        }),
        LinkType::LinuxSll => ethertype(data, 14, 16),
        LinkType::LinuxSll2 => ethertype(data, 0, 20),
        LinkType::Loopback => loopback(data),
    }
}

fn u16_at(data: &[u8], at: usize) -> Result<u16, Unkeyed> {
    match data.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(bytes) => Ok(u16::from_be_bytes(*bytes)),
        None => Err(UnparsedReason::Truncated.into()),
    }
}

/// An ethertype at `at` that tells what starts at `offset`, VLAN tags included.
fn ethertype(data: &[u8], at: usize, offset: usize) -> Result<Network, Unkeyed> {
    let mut network = Network {
        offset,
        tags: [0; MAX_VLAN_TAGS],
        count: 0,
    };
    let mut kind = u16_at(data, at)?;
    loop {
        match kind {
            0x0800 | 0x86dd => return Ok(network),
            // IEEE 802.1Q, 802.1ad, and Q-in-Q before its standard.
            0x8100 | 0x88a8 | 0x9100 => {}
            _ => return Err(Unkeyed::NonIp),
        }
        let Some(tag) = network.tags.get_mut(network.count) else {
            return Err(UnparsedReason::VlanDepth.into());
        };
        *tag = u16_at(data, network.offset)?;
        kind = u16_at(data, network.offset + 2)?;
        network.count += 1;
        network.offset += 4;
    }
}

/// Four bytes of address family, in the byte order of the machine that captured.
fn loopback(data: &[u8]) -> Result<Network, Unkeyed> {
    let Some(family) = data.first_chunk() else {
        return Err(UnparsedReason::Truncated.into());
    };
    let family = u32::from_le_bytes(*family);
    // A family is small: in the wrong order it is not.
    match if family > 0xffff {
        family.swap_bytes()
    } else {
        family
    } {
        // AF_INET everywhere; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin.
        2 | 10 | 24 | 28 | 30 => Ok(Network {
            offset: 4,
            tags: [0; MAX_VLAN_TAGS],
            count: 0,
        }),
        _ => Err(Unkeyed::NonIp),
    }
}
