//! Internet checksums (RFC 1071), of packets that are there to their end.
//!
//! A sender whose device computes checksums hands out frames without: a capture on that machine
//! has the pseudo-header's sum in their place, or zero, and nothing is wrong.

use super::{Packet, extensions, options, read, tunnel};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// What a checksum tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    Right,
    /// There is none, or not all that it covers.
    Unknown,
    /// Left to the sender's device.
    Offloaded,
    Wrong,
}

/// Of the IP header.
#[inline]
pub(crate) fn network(packet: &Packet, data: &[u8]) -> Checksum {
    if packet.is_v6() {
        return Checksum::Unknown;
    }
    let at = packet.headers.ip;
    let Some(header) = data.get(at..packet.headers.transport) else {
        return Checksum::Unknown;
    };
    if fold(sum(header)) == 0xffff {
        Checksum::Right
    } else if read(data, at + 10) == Some(&[0, 0]) {
        Checksum::Offloaded
    } else {
        Checksum::Wrong
    }
}

/// Of the transport, for a packet that is no fragment. `data` may have bytes behind the packet.
#[inline]
pub(crate) fn transport(packet: &Packet, data: &[u8]) -> Checksum {
    let headers = &packet.headers;
    let protocol = packet.key.protocol;
    let field = match protocol {
        TCP => 16,
        UDP => 6,
        ICMP | ICMPV6 => 2,
        _ => return Checksum::Unknown,
    };
    let at = headers.transport;
    let mut end = headers.end;
    if protocol == UDP {
        // RFC 768: the length is UDP's own, and no checksum is one, too; in IPv6 only of tunnels
        // (RFC 8200 section 8.1, RFC 6935 section 5).
        let Some([high, low, checksum @ ..]) = read::<4>(data, at + 4) else {
            return Checksum::Unknown;
        };
        if *checksum == [0, 0] {
            return if packet.is_v6() && !tunnel::may_have_no_checksum(packet) {
                Checksum::Wrong
            } else {
                Checksum::Unknown
            };
        }
        end = end.min(at + usize::from(u16::from_be_bytes([*high, *low])));
    }
    let Some(covered) = data.get(at..end) else {
        return Checksum::Unknown;
    };
    let Some(found) = covered.get(field..field + 2) else {
        return Checksum::Unknown;
    };
    let pseudo = if protocol == ICMP {
        0
    } else {
        pseudo_header(packet, covered.len())
    };
    if fold(pseudo + sum(covered)) == 0xffff {
        return Checksum::Right;
    }
    let found = u16::from_ne_bytes([found[0], found[1]]);
    let is_left_out = match protocol {
        TCP => found == fold(pseudo) || found == 0,
        UDP => found == fold(pseudo),
        _ => false,
    };
    if is_left_out {
        return Checksum::Offloaded;
    }
    if has_other_addresses(packet, data) {
        return Checksum::Unknown;
    }
    Checksum::Wrong
}

/// Whether the sum may be over other addresses than the header's: RFC 791 section 3.1 on source
/// routes, RFC 8200 section 8.1.
#[cold]
fn has_other_addresses(packet: &Packet, data: &[u8]) -> bool {
    if packet.is_v6() {
        extensions::replace_addresses(packet, data)
    } else {
        options::replace_addresses(packet, data)
    }
}

/// RFC 9293 section 3.1 and RFC 8200 section 8.1, whose sums are the same for the same numbers.
fn pseudo_header(packet: &Packet, len: usize) -> u64 {
    let key = &packet.key;
    let addresses = if packet.is_v6() {
        sum(&key.src) + sum(&key.dst)
    } else {
        sum(&key.src[12..]) + sum(&key.dst[12..])
    };
    // Length and protocol as words of the wire.
    let len = len as u64;
    let words = (len >> 16) + (len & 0xffff) + u64::from(key.protocol);
    addresses + u64::from(fold(words).to_be())
}

/// Sum of words in memory's byte order, which ones' complement does not mind (RFC 1071 section
/// 2 B), not folded.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum: u64 = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum += u64::from(u32::from_ne_bytes(last));
    sum
}

const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

#[cfg(test)]
mod tests;
