//! ICMP messages as a flow's "ports": the type, and the type that answers it. Request and reply
//! are then the two directions of one flow. A message without an answer has its code there.

/// The ICMP type that answers this one, by RFC 792, 950 and 1256.
const fn v4_peer(kind: u16) -> Option<u16> {
    Some(match kind {
        0 => 8,
        8 => 0,
        9 => 10,
        10 => 9,
        13 => 14,
        14 => 13,
        15 => 16,
        16 => 15,
        17 => 18,
        18 => 17,
        _ => return None,
    })
}

/// The ICMPv6 type that answers this one, by RFC 4443, 2710, 4861, 4620 and 6275.
const fn v6_peer(kind: u16) -> Option<u16> {
    Some(match kind {
        128 => 129,
        129 => 128,
        130 => 131,
        131 => 130,
        133 => 134,
        134 => 133,
        135 => 136,
        136 => 135,
        139 => 140,
        140 => 139,
        144 => 145,
        145 => 144,
        _ => return None,
    })
}

/// The type that answers `kind`, if any does, for IP protocol 1 or 58.
pub(crate) const fn peer(protocol: u8, kind: u16) -> Option<u16> {
    if protocol == 1 {
        v4_peer(kind)
    } else {
        v6_peer(kind)
    }
}

/// Whether a message of this type asks for an answer.
pub(crate) const fn is_request(protocol: u8, kind: u16) -> bool {
    match protocol {
        1 => matches!(kind, 8 | 10 | 13 | 15 | 17),
        _ => matches!(kind, 128 | 130 | 133 | 135 | 139 | 144),
    }
}

/// Type and code of a flow's first message, from its ports. Messages that are answered have the
/// code 0 (ICMPv6 139 excepted, whose code is lost).
pub(crate) const fn type_and_code(protocol: u8, src_port: u16, dst_port: u16) -> (u8, u8) {
    match peer(protocol, src_port) {
        Some(_) => (src_port as u8, 0),
        None => (src_port as u8, dst_port as u8),
    }
}
