//! Network service headers (RFC 8300).

use super::{Next, Stop, read};

/// What is behind the header at `at`.
pub(super) fn payload(data: &[u8], at: usize) -> Result<(usize, Next), Stop> {
    let header: &[u8; 8] = read(data, at).ok_or(Stop::Short("decoder.nsh.header_too_small"))?;
    if header[0] >> 6 != 0 {
        return Err(Stop::Wrong("decoder.nsh.unsupported_version"));
    }
    let words = usize::from(header[1] & 0x3f);
    // Section 2.2: two words, and with metadata of type 1 four more.
    if words < 2 || (header[2] & 0x0f == 1 && words != 6) {
        return Err(Stop::Wrong("decoder.nsh.bad_header_length"));
    }
    // Section 2.2: operations and maintenance, no packet of anybody's.
    if header[0] & 0x20 != 0 {
        return Err(Stop::NonIp);
    }
    let next = match header[3] {
        1 | 2 => Next::Ip,
        3 => Next::Ethernet,
        4 => Next::Nsh,
        5 => Next::Mpls,
        _ => return Err(Stop::NonIp),
    };
    Ok((at + words * 4, next))
}
