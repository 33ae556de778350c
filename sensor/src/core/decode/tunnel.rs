//! IP packets within the payload of others: IP in IP (RFC 2003, 4213) and GRE (RFC 2784, 2890).

use sensor_ebpf::parse::Origin;

use super::Packet;

const IPV4: u8 = 4;
const IPV6: u8 = 41;
const GRE: u8 = 47;

/// The packet within `outer`, if it is a tunnel's and whole enough. Inner flows have no VLAN ids:
/// those belong to the tunnel.
pub(crate) fn inner(outer: &Packet, data: &[u8], origin: Origin) -> Option<Packet> {
    let at = outer.headers.payload;
    let offset = match outer.key.protocol {
        IPV4 | IPV6 => at,
        GRE => gre(data, at)?,
        _ => return None,
    };
    let data = data.get(..outer.headers.end.min(data.len()))?;
    let origin = Origin {
        vlan: None,
        ..origin
    };
    let (key, headers) = sensor_ebpf::parse::ip(data, offset, origin, &[]).ok()?;
    Some(Packet { key, headers })
}

/// Offset of the IP packet behind a GRE header of version 0 at `at`.
fn gre(data: &[u8], at: usize) -> Option<usize> {
    let header: [u8; 4] = *data.get(at..)?.first_chunk()?;
    let flags = u16::from_be_bytes([header[0], header[1]]);
    let protocol = u16::from_be_bytes([header[2], header[3]]);
    // Version 0 without source routes (RFC 2784 section 2.3).
    if flags & 0x4007 != 0 || !matches!(protocol, 0x0800 | 0x86dd) {
        return None;
    }
    // Checksum, key, sequence number: four bytes each, where announced.
    let options = (flags >> 15) + (flags >> 13 & 1) + (flags >> 12 & 1);
    Some(at + 4 + usize::from(options) * 4)
}
