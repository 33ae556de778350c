//! IPv6's extension headers (RFC 8200 section 4), for what their places tell.

use super::{Packet, read};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

const V6_HEADER: usize = 40;

/// Kind and offset of each extension header of an IPv6 packet, up to its transport header.
fn headers<'a>(packet: &Packet, data: &'a [u8]) -> impl Iterator<Item = (u8, usize)> + use<'a> {
    let (start, end) = (packet.headers.ip, packet.headers.transport);
    let mut at = start + V6_HEADER;
    let mut kind = data.get(start + 6).copied();
    std::iter::from_fn(move || {
        let found = (kind?, at);
        let len = match found.0 {
            FRAGMENT => 8,
            // RFC 4302 section 2.2 counts in words of 4 bytes.
            AUTHENTICATION => (usize::from(*data.get(at + 1)?) + 2) * 4,
            HOP_BY_HOP | ROUTING | DESTINATION => (usize::from(*data.get(at + 1)?) + 1) * 8,
            _ => return None,
        };
        if at >= end {
            return None;
        }
        kind = data.get(at).copied();
        at += len;
        Some(found)
    })
}

/// Where what was fragmented begins: in IPv6 right behind the fragment header, whatever other
/// headers follow there. Headers of atomic fragments (RFC 6946) are none.
pub(crate) fn fragmentable(packet: &Packet, data: &[u8]) -> usize {
    let is_fragment = |at: usize| {
        read(data, at + 2).is_some_and(|place| u16::from_be_bytes(*place) & 0xfff9 != 0)
    };
    if packet.is_v6() {
        headers(packet, data)
            .filter(|(kind, at)| *kind == FRAGMENT && is_fragment(*at))
            .last()
            .map_or(packet.headers.transport, |(_, at)| at + 8)
    } else {
        packet.headers.transport
    }
}

/// Whether one of the header's addresses is not that of an end: the destination is the next stop's
/// (RFC 8200 section 4.4), or the source has another at home (RFC 6275 section 6.3).
pub(super) fn replace_addresses(packet: &Packet, data: &[u8]) -> bool {
    headers(packet, data).any(|(kind, at)| match kind {
        ROUTING => read::<4>(data, at).is_none_or(|[_, _, _, stops_left]| *stops_left > 0),
        DESTINATION => has_home_address(data, at),
        _ => false,
    })
}

/// Goes through the options of a header, RFC 8200 section 4.2.
fn has_home_address(data: &[u8], start: usize) -> bool {
    const PAD_1: u8 = 0;
    const HOME_ADDRESS: u8 = 201;
    let Some([_, words]) = read(data, start) else {
        return false;
    };
    let end = start + (usize::from(*words) + 1) * 8;
    let mut at = start + 2;
    while at < end {
        match read(data, at) {
            Some([HOME_ADDRESS, _]) => return true,
            Some([PAD_1, _]) => at += 1,
            Some([_, len]) => at += 2 + usize::from(*len),
            None => return false,
        }
    }
    false
}
