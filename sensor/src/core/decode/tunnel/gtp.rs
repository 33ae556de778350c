//! The user plane of mobile networks: GTP-U (3GPP TS 29.281).

use super::{Carried, Header, Kind, Next, Stop, read};

pub(super) const PORT: u16 = 2152;

/// Extension headers that are followed.
const MAX_EXTENSIONS: usize = 8;
/// A message that carries a packet, section 6.1.
const G_PDU: u8 = 255;

/// `end` is where the datagram ends on the wire. `None` where it has only the port of GTP-U, or
/// carries no packet.
pub(super) fn header(data: &[u8], at: usize, end: usize) -> Header {
    let Some(header): Option<&[u8; 8]> = read(data, at) else {
        return Ok(None);
    };
    // Section 5.1: version 1, GTP rather than GTP prime; the length is of all behind these bytes.
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] & 0xf8 != 0x30 || header[1] != G_PDU || at + 8 + len != end {
        return Ok(None);
    }
    let payload = if header[0] & 0x07 == 0 {
        at + 8
    } else {
        extensions(data, at + 8, header[0] & 0x04 != 0)?
    };
    // Packets of other kinds than IP have no mark here.
    let next = match data.get(payload).map(|first| first >> 4) {
        Some(4 | 6) => Next::Ip,
        Some(_) => return Err(Stop::NonIp),
        None => return Err(Stop::Short("decoder.gtp.pkt_too_small")),
    };
    Ok(Some(Carried {
        kind: Kind::Gtp,
        id: Some(u32::from_be_bytes([
            header[4], header[5], header[6], header[7],
        ])),
        at: payload,
        next,
    }))
}

/// Where the payload begins, behind sequence number, N-PDU number and the type of the first
/// extension header, section 5.2.
fn extensions(data: &[u8], at: usize, are_there: bool) -> Result<usize, Stop> {
    const SHORT: Stop = Stop::Short("decoder.gtp.header_too_small");
    let optional: &[u8; 4] = read(data, at).ok_or(SHORT)?;
    // Without the flag the type means nothing, section 5.1.
    let (mut at, mut kind) = (at + 4, if are_there { optional[3] } else { 0 });
    for _ in 0..MAX_EXTENSIONS {
        if kind == 0 {
            return Ok(at);
        }
        // Words of four bytes, of which the last byte is the next one's type.
        let len = usize::from(*data.get(at).ok_or(SHORT)?) * 4;
        if len == 0 {
            return Err(Stop::Wrong("decoder.gtp.malformed_extension"));
        }
        at += len;
        kind = *data.get(at - 1).ok_or(SHORT)?;
    }
    if kind == 0 {
        Ok(at)
    } else {
        Err(Stop::Wrong("decoder.gtp.too_many_extensions"))
    }
}
