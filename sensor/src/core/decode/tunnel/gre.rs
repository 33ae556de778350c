//! Generic routing encapsulation: version 0 (RFC 2784, 2890), and version 1, which carries PPP
//! (RFC 2637).

use super::{Carried, Header, Kind, Next, Stop, erspan, read};

const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const STRICT_ROUTING: u16 = 0x0800;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
/// Of version 1.
const ACKNOWLEDGEMENT: u16 = 0x0080;
const VERSION: u16 = 0x0007;

pub(super) fn header(data: &[u8], at: usize) -> Header {
    let fixed: &[u8; 4] = read(data, at).ok_or(Stop::Short("decoder.gre.pkt_too_small"))?;
    let flags = u16::from_be_bytes([fixed[0], fixed[1]]);
    let protocol = u16::from_be_bytes([fixed[2], fixed[3]]);
    match flags & VERSION {
        0 => version_0(data, at + 4, flags, protocol),
        1 => version_1(data, at + 4, flags, protocol),
        _ => Err(Stop::Wrong("decoder.gre.wrong_version")),
    }
}

/// The optional fields begin at `at`, four bytes each.
fn version_0(data: &[u8], at: usize, flags: u16, protocol: u16) -> Header {
    // RFC 2784 section 2.3: source routes and the first bit of recursion control are discarded,
    // the reserved bits behind are ignored.
    if flags & (ROUTING | STRICT_ROUTING) != 0 {
        return Err(Stop::Wrong("decoder.gre.version0_malformed_sre_hdr"));
    }
    if flags & 0x0400 != 0 {
        return Err(Stop::Wrong("decoder.gre.version0_recur"));
    }
    let has = |flag: u16| usize::from(flags & flag != 0);
    let key_at = at + has(CHECKSUM) * 4;
    let id = if flags & KEY == 0 {
        None
    } else {
        let key = read(data, key_at).ok_or(Stop::Short("decoder.gre.pkt_too_small"))?;
        Some(u32::from_be_bytes(*key))
    };
    let at = key_at + (has(KEY) + has(SEQUENCE)) * 4;
    match protocol {
        0x88be => erspan::old(data, at, flags & SEQUENCE != 0),
        0x22eb => erspan::new(data, at),
        _ => Ok(Some(Carried {
            kind: Kind::Gre,
            id,
            at,
            next: Next::Ethertype(protocol),
        })),
    }
}

fn version_1(data: &[u8], at: usize, flags: u16, protocol: u16) -> Header {
    // RFC 2637 section 4.1.
    if protocol != 0x880b {
        return Err(Stop::Wrong("decoder.gre.version1_wrong_protocol"));
    }
    if flags & KEY == 0 {
        return Err(Stop::Wrong("decoder.gre.version1_no_key"));
    }
    if flags & CHECKSUM != 0 {
        return Err(Stop::Wrong("decoder.gre.version1_chksum"));
    }
    if flags & ROUTING != 0 {
        return Err(Stop::Wrong("decoder.gre.version1_route"));
    }
    // Payload length and call id.
    let key: &[u8; 4] = read(data, at).ok_or(Stop::Short("decoder.gre.pkt_too_small"))?;
    if key[..2] == [0, 0] || flags & SEQUENCE == 0 {
        // An acknowledgement alone.
        return Ok(None);
    }
    let options = 1 + usize::from(flags & ACKNOWLEDGEMENT != 0);
    Ok(Some(Carried {
        kind: Kind::Gre,
        id: Some(u16::from_be_bytes([key[2], key[3]]).into()),
        at: at + 4 + options * 4,
        next: Next::Ppp,
    }))
}
