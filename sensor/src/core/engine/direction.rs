//! Which end of a flow began it, where the first packet seen may be an answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sensor_ebpf::abi::FlowKey;

use crate::core::flow::icmp;
use crate::core::flow::tcp::{ACK, SYN, Segment};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Whether the first packet of a flow is an answer: a SYN-ACK, an ICMP reply, or a packet from a
/// privileged port to another, unless TCP says that it opens a connection. Nothing that goes to a
/// group or everybody is an answer, since none has sent anything (RFC 1122 section 3.2.1.3,
/// RFC 4291 section 2.7).
pub(super) fn responds(key: &FlowKey, segment: Option<&Segment>) -> bool {
    let destination = Ipv6Addr::from(key.dst).to_canonical();
    if destination.is_multicast() || destination == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return false;
    }
    match key.protocol {
        1 | 58 => {
            icmp::peer(key.protocol, key.src_port).is_some()
                && !icmp::is_request(key.protocol, key.src_port)
        }
        TCP if segment.is_some_and(|segment| segment.has(SYN)) => {
            segment.is_some_and(|segment| segment.has(ACK))
        }
        // DHCP's two ports are both privileged: RFC 2131 section 4.1, RFC 8415 section 7.2.
        UDP if matches!((key.src_port, key.dst_port), (67, 68) | (547, 546)) => true,
        TCP | UDP => (1..1024).contains(&key.src_port) && key.dst_port >= 1024,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_ports_and_goes_to_no_group() {
        let one = "2001:db8::1".parse::<Ipv6Addr>().unwrap();
        let group = "ff02::1".parse::<Ipv6Addr>().unwrap();
        let everybody = "::ffff:255.255.255.255".parse::<Ipv6Addr>().unwrap();
        let group4 = "::ffff:224.0.0.1".parse::<Ipv6Addr>().unwrap();
        for (protocol, src_port, dst_port, dst, expected) in [
            (58, 136, 0, one, true),
            (58, 135, 0, one, false),
            (58, 134, 0, group, false),
            (UDP, 53, 40_000, one, true),
            (UDP, 40_000, 53, one, false),
            (UDP, 67, 68, one, true),
            (UDP, 68, 67, one, false),
            (UDP, 547, 546, one, true),
            (UDP, 520, 40_000, group4, false),
            (UDP, 67, 68, everybody, false),
        ] {
            let key = FlowKey {
                src: one.octets(),
                dst: dst.octets(),
                src_port,
                dst_port,
                vlan: [0; 2],
                ifindex: 0,
                protocol,
                direction: 0,
                flags: 0,
            };
            assert_eq!(responds(&key, None), expected, "{key:?}");
        }
    }
}
