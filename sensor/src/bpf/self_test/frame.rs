//! The SYN that the test shows to the program.

use std::net::SocketAddr;

use sensor_ebpf::guard::synack;

pub(super) const SEQUENCE: u32 = 0x5e45_0041;

pub(super) const ETHERNET: usize = 14;
const TCP_FLAG_SYN: u32 = 0x02;

pub(super) const fn ip_len(address: SocketAddr) -> usize {
    if address.is_ipv4() { 20 } else { 40 }
}

/// As in a flow key.
pub(super) fn mapped(address: SocketAddr) -> [u8; 16] {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped().octets(),
        SocketAddr::V6(v6) => v6.ip().octets(),
    }
}

/// A SYN of `client` with an MSS, in an Ethernet frame. Nobody checks its checksum.
pub(super) fn syn(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let (from, to) = (mapped(client), mapped(server));
    let tcp = [
        u32::from(client.port()) << 16 | u32::from(server.port()),
        SEQUENCE,
        0,
        6 << 28 | TCP_FLAG_SYN << 16 | 0xffff,
        0,
        0x0204_05b4,
    ];
    let mut frame = vec![0; ETHERNET];
    if server.is_ipv4() {
        frame[12..].copy_from_slice(&[0x08, 0x00]);
        for word in synack::v4(&from, &to, tcp.len() * 4).0 {
            frame.extend(word.to_ne_bytes());
        }
    } else {
        frame[12..].copy_from_slice(&[0x86, 0xdd]);
        for word in synack::v6(&from, &to, tcp.len() * 4) {
            frame.extend(word.to_ne_bytes());
        }
    }
    for word in tcp {
        frame.extend(word.to_be_bytes());
    }
    frame
}
