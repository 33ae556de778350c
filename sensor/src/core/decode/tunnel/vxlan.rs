//! VXLAN (RFC 7348), with the group policy and generic protocol extensions.

use super::{Carried, Header, Kind, Next, read};

/// IANA's, and Linux's from before there was one.
pub(super) const PORTS: [u16; 2] = [4789, 8472];
/// draft-ietf-nvo3-vxlan-gpe.
pub(super) const GPE_PORT: u16 = 4790;

/// The network identifier is valid.
const VALID_ID: u8 = 0x08;
const GROUP_POLICY: u8 = 0x80;
const NEXT_PROTOCOL: u8 = 0x04;

/// `None` where the datagram has only the port of VXLAN: what is reserved is zero (section 5).
pub(super) fn header(data: &[u8], at: usize) -> Header {
    let Some(header): Option<&[u8; 8]> = read(data, at) else {
        return Ok(None);
    };
    let reserved_is_zero = header[0] & GROUP_POLICY != 0 || header[1..4] == [0; 3];
    if header[0] & !GROUP_POLICY != VALID_ID || !reserved_is_zero || header[7] != 0 {
        return Ok(None);
    }
    carried(header, at, Next::Ethernet)
}

pub(super) fn generic_header(data: &[u8], at: usize) -> Header {
    let Some(header): Option<&[u8; 8]> = read(data, at) else {
        return Ok(None);
    };
    // Version 0, no operations and maintenance.
    if header[0] & !NEXT_PROTOCOL != VALID_ID || header[1..3] != [0; 2] || header[7] != 0 {
        return Ok(None);
    }
    let next = match (header[0] & NEXT_PROTOCOL, header[3]) {
        (0, 0) | (NEXT_PROTOCOL, 3) => Next::Ethernet,
        (NEXT_PROTOCOL, 1 | 2) => Next::Ip,
        (NEXT_PROTOCOL, 4) => Next::Nsh,
        (NEXT_PROTOCOL, 5) => Next::Mpls,
        _ => return Ok(None),
    };
    carried(header, at, next)
}

fn carried(header: &[u8; 8], at: usize, next: Next) -> Header {
    Ok(Some(Carried {
        kind: Kind::Vxlan,
        id: Some(u32::from_be_bytes([0, header[4], header[5], header[6]])),
        at: at + 8,
        next,
    }))
}
