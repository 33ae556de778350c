//! Mirrored frames of switches (draft-foschiano-erspan), within GRE.

use super::{Carried, Header, Kind, Next, Stop, read};

const SHORT: Stop = Stop::Short("decoder.erspan.header_too_small");

/// Types I and II, which have one GRE protocol number: type I has no sequence number, and no
/// header either.
pub(super) fn old(data: &[u8], at: usize, has_sequence: bool) -> Header {
    if !has_sequence {
        return carried(None, at);
    }
    let header: &[u8; 8] = read(data, at).ok_or(SHORT)?;
    if header[0] >> 4 != 1 {
        return Err(Stop::Wrong("decoder.erspan.unsupported_version"));
    }
    carried(Some(session(header[2], header[3])), at + 8)
}

/// Type III.
pub(super) fn new(data: &[u8], at: usize) -> Header {
    let header: &[u8; 12] = read(data, at).ok_or(SHORT)?;
    if header[0] >> 4 != 2 {
        return Err(Stop::Wrong("decoder.erspan.unsupported_version"));
    }
    let flags = u16::from_be_bytes([header[10], header[11]]);
    // A platform's own header follows.
    let len = if flags & 1 == 0 { 12 } else { 20 };
    let carried = Carried {
        kind: Kind::Erspan,
        id: Some(session(header[2], header[3])),
        at: at + len,
        next: match flags >> 10 & 0x1f {
            0 => Next::Ethernet,
            2 => Next::Ip,
            _ => return Err(Stop::NonIp),
        },
    };
    Ok(Some(carried))
}

fn session(high: u8, low: u8) -> u32 {
    u32::from(high & 3) << 8 | u32::from(low)
}

fn carried(id: Option<u32>, at: usize) -> Header {
    Ok(Some(Carried {
        kind: Kind::Erspan,
        id,
        at,
        next: Next::Ethernet,
    }))
}
