//! Teredo: IPv6 through IPv4's address translators (RFC 4380).

use super::{Carried, Header, Kind, Next, read};

pub(super) const PORT: u16 = 3544;

const V6_HEADER: usize = 40;

/// `end` is where the datagram ends on the wire. `None` where it has only the port of Teredo.
pub(super) fn header(data: &[u8], mut at: usize, end: usize) -> Header {
    // Section 5.1.1: first who asks proves itself, then the server says how it saw the asker.
    if let Some([0, 1, client, value]) = read(data, at) {
        at += 4 + usize::from(*client) + usize::from(*value) + 9;
    }
    if read(data, at) == Some(&[0, 0]) {
        at += 8;
    }
    let Some(packet): Option<&[u8; V6_HEADER]> = read(data, at) else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    // The packet fills the datagram; trailers of RFC 6081 section 4 may follow a bubble.
    let is_bubble = packet[6] == 59 && len == 0;
    if packet[0] >> 4 != 6 || !(at + V6_HEADER + len == end || is_bubble) {
        return Ok(None);
    }
    Ok(Some(Carried {
        kind: Kind::Teredo,
        id: None,
        at,
        next: Next::Ip,
    }))
}
