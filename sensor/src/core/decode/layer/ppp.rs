//! PPPoE sessions (RFC 2516) and the PPP frames in them and in GRE (RFC 1661).

use super::{Next, Stop, read};

/// What is in the PPPoE session frame at `at`.
pub(super) fn session(data: &[u8], at: usize) -> Result<(usize, Next), Stop> {
    let header: &[u8; 6] = read(data, at).ok_or(Stop::Short("decoder.pppoe.pkt_too_small"))?;
    // RFC 2516 section 4: version 1, type 1; section 6: code 0.
    if header[0] != 0x11 || header[1] != 0 {
        return Err(Stop::Wrong("decoder.pppoe.wrong_code"));
    }
    Ok((at + 6, Next::Ppp))
}

/// What the PPP frame at `at` carries.
pub(super) fn payload(data: &[u8], mut at: usize) -> Result<(usize, Next), Stop> {
    const SHORT: Stop = Stop::Short("decoder.ppp.pkt_too_small");
    // Address and control of RFC 1662 section 3.1, which most leave out.
    if read(data, at) == Some(&[0xff, 0x03]) {
        at += 2;
    }
    let first = *data.get(at).ok_or(SHORT)?;
    // RFC 1661 section 6.5: a compressed protocol number is one odd byte.
    let (protocol, at) = if first & 1 == 1 {
        (u16::from(first), at + 1)
    } else {
        let number = read(data, at).ok_or(SHORT)?;
        (u16::from_be_bytes(*number), at + 2)
    };
    match protocol {
        0x0021 | 0x0057 => Ok((at, Next::Ip)),
        // RFC 3032 section 4.3.
        0x0281 | 0x0283 => Ok((at, Next::Mpls)),
        _ => Err(Stop::NonIp),
    }
}
