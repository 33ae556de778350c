//! MPLS label stacks (RFC 3032), which do not say what they carry.

use super::{Next, Stop, read};

/// Labels that are followed; networks use a handful.
const MAX_LABELS: usize = 16;

/// What is behind the label stack at `at`.
pub(super) fn payload(data: &[u8], mut at: usize) -> Result<(usize, Next), Stop> {
    for _ in 0..MAX_LABELS {
        let entry: &[u8; 4] = read(data, at).ok_or(Stop::Short("decoder.mpls.header_too_small"))?;
        let label = u32::from_be_bytes(*entry) >> 12;
        at += 4;
        // The bottom of the stack.
        if entry[2] & 1 == 0 {
            continue;
        }
        return match label {
            // RFC 3032 section 2.1: a router alert is never at the bottom, an implicit null never
            // on the wire.
            1 => Err(Stop::Wrong("decoder.mpls.bad_label_router_alert")),
            3 => Err(Stop::Wrong("decoder.mpls.bad_label_implicit_null")),
            // Associated channels: RFC 5586.
            13 => Err(Stop::NonIp),
            _ => unlabelled(data, at),
        };
    }
    Err(Stop::Wrong("decoder.mpls.too_many_labels"))
}

/// RFC 4928 section 3 and RFC 4385 section 3: the first four bits tell IP from the control word of
/// a pseudo-wire, which may also have none.
fn unlabelled(data: &[u8], at: usize) -> Result<(usize, Next), Stop> {
    let first = data
        .get(at)
        .ok_or(Stop::Short("decoder.mpls.pkt_too_small"))?;
    match first >> 4 {
        4 | 6 => Ok((at, Next::Ip)),
        // Most control words are all zero, which no address begins with.
        0 if read(data, at) == Some(&[0; 4]) && is_ethernet(data, at + 4) => {
            Ok((at + 4, Next::Ethernet))
        }
        _ if is_ethernet(data, at) => Ok((at, Next::Ethernet)),
        0 if is_ethernet(data, at + 4) => Ok((at + 4, Next::Ethernet)),
        // Another sort of pseudo-wire, or an associated channel (RFC 5085).
        _ => Err(Stop::NonIp),
    }
}

/// Whether there is an Ethernet header whose ethertype is one that is followed.
fn is_ethernet(data: &[u8], at: usize) -> bool {
    read(data, at + 12).is_some_and(|kind| {
        matches!(
            u16::from_be_bytes(*kind),
            0x0800 | 0x86dd | 0x8100 | 0x88a8 | 0x9100 | 0x8847 | 0x8848 | 0x8864
        )
    })
}
