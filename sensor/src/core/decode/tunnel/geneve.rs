//! Geneve (RFC 8926).

use super::{Carried, Header, Kind, Next, Stop, read};

pub(super) const PORT: u16 = 6081;

/// `None` where the datagram has only the port of Geneve.
pub(super) fn header(data: &[u8], at: usize) -> Header {
    let Some(header): Option<&[u8; 8]> = read(data, at) else {
        return Ok(None);
    };
    // Section 3.4: version 0; reserved bits are ignored. A protocol that is followed is what tells
    // Geneve from anything else on its port.
    let protocol = u16::from_be_bytes([header[2], header[3]]);
    let is_followed = matches!(
        protocol,
        0x0800 | 0x6558 | 0x86dd | 0x8847 | 0x8848 | 0x894f
    );
    if header[0] >> 6 != 0 || !is_followed {
        return Ok(None);
    }
    // Section 3.4: control packets are for the tunnel's ends.
    if header[1] & 0x80 != 0 {
        return Err(Stop::NonIp);
    }
    let start = at + 8;
    let end = start + usize::from(header[0] & 0x3f) * 4;
    options(data, start, end)?;
    Ok(Some(Carried {
        kind: Kind::Geneve,
        id: Some(u32::from_be_bytes([0, header[4], header[5], header[6]])),
        at: end,
        next: Next::Ethertype(protocol),
    }))
}

/// Whether the options fill their place, section 3.5.
fn options(data: &[u8], mut at: usize, end: usize) -> Result<(), Stop> {
    if data.len() < end {
        return Err(Stop::Short("decoder.geneve.header_too_small"));
    }
    while at < end {
        let option: &[u8; 4] =
            read(data, at).ok_or(Stop::Short("decoder.geneve.header_too_small"))?;
        at += 4 + usize::from(option[3] & 0x1f) * 4;
    }
    if at == end {
        Ok(())
    } else {
        Err(Stop::Wrong("decoder.geneve.malformed_options"))
    }
}
