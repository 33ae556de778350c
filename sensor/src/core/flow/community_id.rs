//! Community ID v1: a hash of the five-tuple that other tools compute alike.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::icmp;
use crate::core::event::CommunityId;

/// The Community ID, version 1, seed 0, of a flow between two ends, each an address with a port,
/// the originator's first. For ICMP the ports are as in [`super::icmp`]. Both directions of a
/// flow have the same id.
#[must_use]
pub fn of(protocol: u8, ends: [(IpAddr, u16); 2]) -> CommunityId {
    let [(src, src_port), (dst, dst_port)] = ends;
    // Messages that nobody answers keep the order of their ends.
    let one_way = matches!(protocol, 1 | 58) && icmp::peer(protocol, src_port).is_none();
    let (src, dst) = (Octets::of(src), Octets::of(dst));
    let ordered = one_way || (src.as_slice(), src_port) <= (dst.as_slice(), dst_port);
    let (a, a_port, b, b_port) = if ordered {
        (src, src_port, dst, dst_port)
    } else {
        (dst, dst_port, src, src_port)
    };
    // Seed (2), addresses (4 or 16 each), protocol (1), padding (1), ports (2 each).
    let mut text = [0_u8; 2 + 16 + 16 + 2 + 4];
    let mut end = 2;
    let mut put = |bytes: &[u8]| {
        text[end..end + bytes.len()].copy_from_slice(bytes);
        end += bytes.len();
    };
    put(a.as_slice());
    put(b.as_slice());
    put(&[protocol, 0]);
    // Protocols without ports hash none.
    if matches!(protocol, 1 | 6 | 17 | 58 | 132) {
        put(&a_port.to_be_bytes());
        put(&b_port.to_be_bytes());
    }
    let mut id = *b"1:                            ";
    // 20 bytes make 28 characters, so that the room always suffices.
    let encoded = STANDARD.encode_slice(Sha1::digest(&text[..end]), &mut id[2..]);
    debug_assert_eq!(encoded, Ok(28));
    CommunityId(id)
}

/// An address's bytes without allocation.
struct Octets {
    bytes: [u8; 16],
    len: usize,
}

impl Octets {
    fn of(address: IpAddr) -> Self {
        let mut bytes = [0; 16];
        let len = match address {
            IpAddr::V4(v4) => {
                bytes[..4].copy_from_slice(&v4.octets());
                4
            }
            IpAddr::V6(v6) => {
                bytes = v6.octets();
                16
            }
        };
        Self { bytes, len }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(protocol: u8, src: &str, src_port: u16, dst: &str, dst_port: u16) -> String {
        let ends = [
            (src.parse().unwrap(), src_port),
            (dst.parse().unwrap(), dst_port),
        ];
        String::from_utf8(of(protocol, ends).0.to_vec()).unwrap()
    }

    /// Vectors of the specification's baseline (seed 0).
    #[test]
    fn as_the_specification_has_it() {
        let tcp = "1:LQU9qZlK+B5F3KDmev6m5PMibrg=";
        assert_eq!(id(6, "128.232.110.120", 34855, "66.35.250.204", 80), tcp);
        assert_eq!(id(6, "66.35.250.204", 80, "128.232.110.120", 34855), tcp);
        let udp = "1:d/FP5EW3wiY1vCndhwleRRKHowQ=";
        assert_eq!(id(17, "192.168.1.52", 54585, "8.8.8.8", 53), udp);
        assert_eq!(id(17, "8.8.8.8", 53, "192.168.1.52", 54585), udp);
        let ping = "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=";
        assert_eq!(id(1, "192.168.0.89", 8, "192.168.0.1", 0), ping);
        assert_eq!(id(1, "192.168.0.1", 0, "192.168.0.89", 8), ping);
        let solicitation = "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=";
        assert_eq!(
            id(
                58,
                "fe80::200:86ff:fe05:80da",
                135,
                "fe80::260:97ff:fe07:69ea",
                136
            ),
            solicitation
        );
        // Unanswered: type 3, code 0.
        assert_eq!(
            id(
                58,
                "3ffe:501:1800:2345::2",
                3,
                "3ffe:507:0:1:200:86ff:fe05:80da",
                0
            ),
            "1:2ObVBgIn28oZvibYZhZMBgh7WdQ="
        );
        // SCTP has ports, RSVP has none.
        let baseline = [
            (
                132,
                "192.168.170.8",
                7,
                "192.168.170.56",
                7,
                "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs=",
            ),
            (
                46,
                "10.1.12.1",
                0,
                "10.1.12.2",
                0,
                "1:KHlLkgoJW7ifUTyTSgyVfkFHzKw=",
            ),
        ];
        for (protocol, src, src_port, dst, dst_port, expected) in baseline {
            assert_eq!(id(protocol, src, src_port, dst, dst_port), expected);
        }
    }
}
