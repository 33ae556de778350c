//! IPv4's options (RFC 791 section 3.1), for what their addresses tell.

use super::{Packet, read};

const V4_HEADER: usize = 20;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// Whether the header's destination is the next stop's: a source route has places left.
pub(super) fn replace_addresses(packet: &Packet, data: &[u8]) -> bool {
    let end = packet.headers.transport;
    let mut at = packet.headers.ip + V4_HEADER;
    while at < end {
        at += match read(data, at) {
            Some([END]) | None => return false,
            Some([NO_OPERATION]) => 1,
            Some([kind]) => {
                let Some([len, pointer]) = read(data, at + 1) else {
                    return false;
                };
                // The pointer is beyond the option where the route has been followed to its end.
                let has_stops = pointer <= len;
                if matches!(*kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE) && has_stops {
                    return true;
                }
                if *len < 2 {
                    return false;
                }
                usize::from(*len)
            }
        };
    }
    false
}
