//! Frames that the tests send.

use etherparse::{EtherType, PacketBuilder};

/// UDP over IPv4 with so many bytes of payload; 42 bytes of headers come before it.
pub(super) fn udp(ports: (u16, u16), payload: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(ports.0, ports.1)
        .write(&mut frame, &vec![0x55; payload])
        .expect("writing to memory");
    frame
}

/// The header's 13th byte.
pub(super) mod tcp_flag {
    pub(in crate::kernel) const FIN: u8 = 1;
    pub(in crate::kernel) const SYN: u8 = 2;
    pub(in crate::kernel) const RST: u8 = 4;
    pub(in crate::kernel) const ACK: u8 = 16;
}

/// A TCP segment over IPv4 without payload.
pub(super) fn tcp(flags: u8) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(40_000, 443, 1, 1024)
        .write(&mut frame, &[])
        .expect("writing to memory");
    frame[14 + 20 + 13] = flags;
    frame
}

/// A frame whose payload is of another sort than IP.
pub(super) fn arp() -> Vec<u8> {
    ethernet(EtherType::ARP.0, &[0; 28])
}

pub(super) fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Puts tags between the addresses and the ethertype, from the outside in.
pub(super) fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut with = frame[..12].to_vec();
    for (ethertype, tci) in tags {
        with.extend(ethertype.to_be_bytes());
        with.extend(tci.to_be_bytes());
    }
    with.extend(&frame[12..]);
    with
}

/// UDP over IPv6 behind extension headers of these kinds, of 8 bytes each.
pub(super) fn extended(kinds: &[u8]) -> Vec<u8> {
    const UDP: u8 = 17;
    let next = |at: usize| kinds.get(at).copied().unwrap_or(UDP);
    let mut packet = vec![0x60, 0, 0, 0, 0, 8 + 8 * kinds.len() as u8, next(0), 64];
    packet.extend([0x20; 32]);
    for at in 0..kinds.len() {
        packet.extend([next(at + 1), 0, 0, 0, 0, 0, 0, 0]);
    }
    packet.extend([0x10, 0, 0x20, 0, 0, 8, 0, 0]);
    ethernet(EtherType::IPV6.0, &packet)
}
