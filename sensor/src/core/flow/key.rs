//! The key of a flow in both directions, made from the kernel parser's key of one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sensor_ebpf::abi::{FlowKey, key_flags};
use zerocopy::{Immutable, IntoBytes};

use super::icmp;
use crate::core::event::Vlans;

/// Addresses and ports of both ends, the smaller end first; VLAN ids; device; protocol.
///
/// The device belongs to the key: a forwarded packet crosses two, and each has its own flow with
/// its own exact counts. The Community ID joins them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Key {
    addresses: [[u8; 16]; 2],
    ports: [u16; 2],
    vlan: [u16; 2],
    ifindex: u32,
    flags: u16,
    protocol: u8,
    /// Packets around those of the flow: who talks within a tunnel is not who talks outside.
    depth: u8,
}

impl Key {
    /// The key of the flow that a packet with this key, and `depth` others around it, belongs to, and whether the packet's
    /// source is the second end.
    #[inline]
    pub(crate) fn of(key: &FlowKey, depth: u8) -> (Self, bool) {
        let mut ports = [key.src_port, key.dst_port];
        if matches!(key.protocol, 1 | 58)
            && let Some(peer) = icmp::peer(key.protocol, key.src_port)
        {
            ports[1] = peer;
        }
        let swapped = (&key.src, ports[0]) > (&key.dst, ports[1]);
        let mut addresses = [key.src, key.dst];
        if swapped {
            addresses.swap(0, 1);
            ports.swap(0, 1);
        }
        let made = Self {
            addresses,
            ports,
            vlan: key.vlan,
            ifindex: key.ifindex,
            flags: key.flags,
            protocol: key.protocol,
            depth,
        };
        (made, swapped)
    }

    /// The key of packets that the first end sends, or the second. Not for ICMP, whose ports are
    /// its types.
    pub(crate) fn of_packets(&self, second: bool, direction: u8) -> FlowKey {
        let (from, to) = if second { (1, 0) } else { (0, 1) };
        FlowKey {
            src: self.addresses[from],
            dst: self.addresses[to],
            src_port: self.ports[from],
            dst_port: self.ports[to],
            vlan: self.vlan,
            ifindex: self.ifindex,
            protocol: self.protocol,
            direction,
            flags: self.flags,
        }
    }

    pub(crate) const fn protocol(&self) -> u8 {
        self.protocol
    }

    pub(crate) const fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Address and port of an end, 0 the smaller.
    pub(crate) fn end(&self, index: usize) -> (IpAddr, u16) {
        let octets = self.addresses[index & 1];
        let address = if self.flags & key_flags::IPV6 == 0 {
            let [.., a, b, c, d] = octets;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        (address, self.ports[index & 1])
    }

    pub(crate) fn vlans(&self) -> Vlans {
        if self.flags & key_flags::QINQ != 0 {
            Vlans::new(&self.vlan)
        } else if self.flags & key_flags::VLAN != 0 {
            Vlans::new(&self.vlan[..1])
        } else {
            Vlans::default()
        }
    }
}
