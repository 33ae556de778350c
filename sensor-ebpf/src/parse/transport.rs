use super::{Bytes, Headers, Unkeyed};
use crate::abi::{FlowKey, UnparsedReason};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// Reads ports, or type and code, and the TCP flags. Headers must be complete; bytes beyond the
/// packet's end as its IP header tells it are padding and no header.
#[inline(always)]
pub(super) fn parse<B: Bytes>(
    bytes: B,
    headers: &mut Headers,
    key: &mut FlowKey,
) -> Result<(), Unkeyed> {
    let at = headers.transport;
    let need = match key.protocol {
        TCP => 20,
        UDP => 8,
        SCTP => 12,
        // RFC 792 and RFC 4443 section 2.1: type, code, checksum.
        ICMP | ICMPV6 => 4,
        _ => {
            key.src_port = 0;
            key.dst_port = 0;
            return Ok(());
        }
    };
    headers.payload = at + need;
    if headers.payload > headers.end {
        return Err(UnparsedReason::Truncated.into());
    }
    let start = match key.protocol {
        TCP => {
            let Some(header) = bytes.get::<20>(at) else {
                return Err(UnparsedReason::Truncated.into());
            };
            headers.tcp_flags = header[13];
            // A data offset below 5 words is wrong; the payload then starts after the fixed part.
            headers.payload = at + (usize::from(header[12] >> 4) * 4).max(20);
            header.first_chunk::<4>().copied()
        }
        UDP => bytes
            .get::<8>(at)
            .and_then(|header| header.first_chunk().copied()),
        SCTP => bytes
            .get::<12>(at)
            .and_then(|header| header.first_chunk().copied()),
        _ => bytes.get::<4>(at),
    };
    let Some(start) = start else {
        return Err(UnparsedReason::Truncated.into());
    };
    if matches!(key.protocol, ICMP | ICMPV6) {
        key.src_port = start[0].into();
        key.dst_port = start[1].into();
    } else {
        key.src_port = u16::from_be_bytes([start[0], start[1]]);
        key.dst_port = u16::from_be_bytes([start[2], start[3]]);
    }
    Ok(())
}
