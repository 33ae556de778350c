use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;

/// An IPv4 packet with a UDP datagram, and an Ethernet frame with it.
fn packet() -> Vec<u8> {
    frame()[14..].to_vec()
}

fn frame() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 9, 8, 7], [10, 9, 8, 6], 64)
        .udp(4000, 53)
        .write(&mut frame, b"inside")
        .unwrap();
    frame
}

fn v6_packet() -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv6([0x20; 16], [0x21; 16], 64)
        .tcp(4000, 80, 1, 2)
        .write(&mut packet, b"inside")
        .unwrap();
    packet
}

/// The parts as the payload of an IP protocol.
fn in_ip(protocol: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .write(&mut frame, protocol.into(), &parts.concat())
        .unwrap();
    frame
}

fn in_udp(ports: (u16, u16), parts: &[&[u8]]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6([0x30; 16], [0x31; 16], 64)
        .udp(ports.0, ports.1)
        .write(&mut frame, &parts.concat())
        .unwrap();
    frame
}

fn found(frame: &[u8]) -> Result<Option<Inner>, Stop> {
    let (key, headers) = sensor_ebpf::parse::ethernet(frame, Origin::CAPTURE).unwrap();
    let outer = Packet {
        key,
        headers,
        in_kernel: true,
    };
    inner(&outer, frame, Origin::CAPTURE)
}

/// A header of GRE.
fn gre(flags: u16, protocol: u16) -> [u8; 4] {
    let [a, b] = flags.to_be_bytes();
    let [c, d] = protocol.to_be_bytes();
    [a, b, c, d]
}

/// A G-PDU's header over `len` bytes.
fn gtp(flags: u8, len: usize) -> [u8; 8] {
    let [high, low] = (len as u16).to_be_bytes();
    [0x30 | flags, 255, high, low, 0, 0, 1, 2]
}

/// Frames with one tunnel each, its kind and number, and the bytes before the inner packet's.
fn examples() -> Vec<(Vec<u8>, Kind, Option<u32>, usize)> {
    use Kind::{Erspan, EtherIp, Geneve, Gre, Gtp, Ip, Mpls, Teredo, Vxlan};
    let (ip, v6, ethernet) = (packet(), v6_packet(), frame());
    let label = [0, 1, 0x01, 64];
    let vxlan = [8, 0, 0, 0, 0, 1, 2, 0];
    let options = [1, 2, 3, 1, 9, 9, 9, 9, 1, 2, 4, 0];
    let extended = [&[0, 1, 0, 0x85][..], &[1, 9, 9, 0]].concat();
    let bare = gtp(0, v6.len());
    let optional = gtp(4, 8 + ip.len());
    vec![
        (in_ip(4, &[&ip]), Ip, None, 34),
        (in_ip(41, &[&v6]), Ip, None, 34),
        (in_ip(47, &[&gre(0, 0x0800), &ip]), Gre, None, 38),
        (
            in_ip(
                47,
                &[&gre(0xb000, 0x86dd), &[0; 4], &[0, 0, 0, 7], &[0; 4], &v6],
            ),
            Gre,
            Some(7),
            50,
        ),
        (
            in_ip(47, &[&gre(0x2000, 0x6558), &[0, 1, 2, 3], &ethernet]),
            Gre,
            Some(0x1_0203),
            42,
        ),
        (in_ip(47, &[&gre(0, 0x8847), &label, &ip]), Gre, None, 38),
        (
            in_ip(
                47,
                &[
                    &gre(0x3001, 0x880b),
                    &[0, 9, 0, 5],
                    &[0; 4],
                    &[0xff, 3, 0, 0x21],
                    &ip,
                ],
            ),
            Gre,
            Some(5),
            46,
        ),
        (in_ip(47, &[&gre(0, 0x88be), &ethernet]), Erspan, None, 38),
        (
            in_ip(
                47,
                &[
                    &gre(0x1000, 0x88be),
                    &[0; 4],
                    &[0x10, 1, 0x1a, 5, 0, 0, 0, 0],
                    &ethernet,
                ],
            ),
            Erspan,
            Some(0x205),
            50,
        ),
        (
            in_ip(
                47,
                &[
                    &gre(0x1000, 0x22eb),
                    &[0; 4],
                    &[0x20, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1],
                    &[0; 8],
                    &ethernet,
                ],
            ),
            Erspan,
            Some(6),
            62,
        ),
        (in_ip(97, &[&[0x30, 0], &ethernet]), EtherIp, None, 36),
        (in_ip(137, &[&label, &v6]), Mpls, None, 34),
        (in_udp((50_000, 6635), &[&label, &ip]), Mpls, None, 62),
        (
            in_udp((50_000, 4789), &[&vxlan, &ethernet]),
            Vxlan,
            Some(0x102),
            70,
        ),
        (
            in_udp((50_000, 8472), &[&[0x88, 0, 0, 9, 0, 1, 2, 0], &ethernet]),
            Vxlan,
            Some(0x102),
            70,
        ),
        (
            in_udp((50_000, 4790), &[&[0x0c, 0, 0, 2, 0, 0, 3, 0], &v6]),
            Vxlan,
            Some(3),
            70,
        ),
        (
            in_udp(
                (50_000, 6081),
                &[&[0, 0, 0x65, 0x58, 0, 0, 9, 0], &ethernet],
            ),
            Geneve,
            Some(9),
            70,
        ),
        (
            in_udp(
                (50_000, 6081),
                &[&[3, 0x40, 0x86, 0xdd, 0, 0, 9, 0], &options, &v6],
            ),
            Geneve,
            Some(9),
            82,
        ),
        (in_udp((2152, 2152), &[&bare, &v6]), Gtp, Some(0x102), 70),
        (
            in_udp((5906, 2152), &[&optional, &extended, &ip]),
            Gtp,
            Some(0x102),
            78,
        ),
        (in_udp((3544, 50_000), &[&v6]), Teredo, None, 62),
        (
            in_udp((50_000, 3544), &[&[0, 1, 0, 0], &[0; 9], &[0; 8], &v6]),
            Teredo,
            None,
            83,
        ),
    ]
}

#[test]
fn each_tunnel_is_followed() {
    for (frame, kind, id, at) in examples() {
        let inner = found(&frame).unwrap().unwrap_or_else(|| panic!("{kind:?}"));
        assert_eq!((inner.kind, inner.id, inner.at), (kind, id, at));
        let key = inner.packet.key;
        let ports = if inner.packet.is_v6() {
            (4000, 80)
        } else {
            (4000, 53)
        };
        assert_eq!((key.src_port, key.dst_port), ports, "{kind:?}");
        let payload = inner.packet.payload(frame.len() - at);
        assert_eq!(&frame[at..][payload], b"inside", "{kind:?}");
    }
}

#[test]
fn tags_within_are_the_inner_packets() {
    let mut tagged = frame();
    tagged.splice(12..12, [0x81, 0, 0, 77]);
    let inner = found(&in_udp((1, 4789), &[&[8, 0, 0, 0, 0, 0, 1, 0], &tagged]));
    assert_eq!(inner.unwrap().unwrap().packet.key.vlan, [77, 0]);
}

#[test]
fn a_port_alone_is_no_tunnel() {
    let v6 = v6_packet();
    for payload in [
        &b"any text that somebody sends"[..],
        b"",
        b"\x08",
        &[0xff; 60],
        &[0; 60],
        &[0, 1, 1, 64, 0x45, 0, 0, 0],
        &v6[..40],
    ] {
        for port in [2152, 3544, 4789, 4790, 6081, 6635, 8472] {
            assert!(
                matches!(found(&in_udp((port, port), &[payload])), Ok(None)),
                "{port} {payload:?}"
            );
        }
    }
    // DNS from GTP's port.
    let query = [
        0x6b, 0xcb, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1,
    ];
    assert!(matches!(found(&in_udp((2152, 53), &[&query])), Ok(None)));
    // Behind VXLAN's source port is whatever somebody answers.
    let answer = found(&in_udp(
        (4789, 50_000),
        &[&[8, 0, 0, 0, 0, 0, 1, 0], &frame()],
    ));
    assert!(matches!(answer, Ok(None)));
}

#[test]
fn what_breaks_the_rules_is_named() {
    let ip = packet();
    let geneve = |option: u8| {
        in_udp(
            (1, 6081),
            &[&[1, 0, 8, 0, 0, 0, 0, 0], &[0, 0, 0, option], &ip],
        )
    };
    let header = |header: &[u8]| in_udp((1, 2152), &[&gtp(4, header.len()), header]);
    for (frame, expected) in [
        (
            in_ip(47, &[&gre(2, 0x0800), &ip]),
            "decoder.gre.wrong_version",
        ),
        (
            in_ip(47, &[&gre(0x4000, 0x0800), &ip]),
            "decoder.gre.version0_malformed_sre_hdr",
        ),
        (
            in_ip(47, &[&gre(0x0400, 0x0800), &ip]),
            "decoder.gre.version0_recur",
        ),
        (
            in_ip(47, &[&gre(0x0800, 0x0800), &ip]),
            "decoder.gre.version0_malformed_sre_hdr",
        ),
        (
            in_ip(47, &[&gre(0x3001, 0x0800), &ip]),
            "decoder.gre.version1_wrong_protocol",
        ),
        (
            in_ip(47, &[&gre(0x1001, 0x880b), &ip]),
            "decoder.gre.version1_no_key",
        ),
        (
            in_ip(47, &[&gre(0x1000, 0x88be), &[0; 12], &frame()]),
            "decoder.erspan.unsupported_version",
        ),
        (
            in_ip(97, &[&[0x40, 0], &frame()]),
            "decoder.etherip.wrong_version",
        ),
        (geneve(9), "decoder.geneve.malformed_options"),
        (
            header(&[0, 0, 0, 0x85, 0, 1, 2, 0]),
            "decoder.gtp.malformed_extension",
        ),
        (
            header(&[&[0, 0, 0, 0x85][..], &[1, 1, 1, 0x85].repeat(9)].concat()),
            "decoder.gtp.too_many_extensions",
        ),
        (
            in_ip(4, &[&[&[0x43][..], &ip[1..]].concat()]),
            "decoder.ipv4.hlen_too_small",
        ),
    ] {
        match found(&frame) {
            Err(Stop::Wrong(name)) => assert_eq!(name, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    // No packet of anybody's: ARP, an acknowledgement, a control packet.
    let arp = [&frame()[..12], &[8, 6], &[0; 28]].concat();
    for frame in [
        in_udp((1, 4789), &[&[8, 0, 0, 0, 0, 0, 1, 0], &arp]),
        in_udp((1, 6081), &[&[0, 0x80, 0x65, 0x58, 0, 0, 9, 0], &frame()]),
        in_ip(47, &[&gre(0, 0x2000), &ip]),
    ] {
        assert_eq!(found(&frame).map(|inner| inner.is_some()), Err(Stop::NonIp));
    }
    let acknowledgement = in_ip(47, &[&gre(0x2081, 0x880b), &[0; 8]]);
    assert!(matches!(found(&acknowledgement), Ok(None)));
}

#[test]
fn a_capture_that_is_cut_breaks_no_rule() {
    for (frame, kind, _, at) in examples() {
        for len in 0..at {
            let outer = sensor_ebpf::parse::ethernet(&frame, Origin::CAPTURE).unwrap();
            if len < outer.1.payload {
                continue;
            }
            match found(&frame[..len]) {
                Ok(None) | Err(Stop::Short(_) | Stop::NonIp) => {}
                other => panic!("{kind:?} {len}: {other:?}"),
            }
        }
    }
}

proptest! {
    /// Hostile bytes: one of the examples with bytes changed, cut anywhere.
    #[test]
    fn no_bytes_lead_astray(
        example in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
    ) {
        let examples = examples();
        let mut frame = example.get(&examples).0.clone();
        for (place, byte) in changes {
            let place = place.index(frame.len());
            frame[place] = byte;
        }
        frame.truncate(len.index(frame.len()) + 1);
        let Ok((key, headers)) = sensor_ebpf::parse::ethernet(&frame, Origin::CAPTURE) else {
            return Ok(());
        };
        let outer = Packet { key, headers, in_kernel: true };
        if let Ok(Some(inner)) = inner(&outer, &frame, Origin::CAPTURE) {
            prop_assert!(inner.at >= headers.transport && inner.at <= frame.len());
            prop_assert!(inner.packet.headers.ip <= frame.len() - inner.at);
        }
    }
}

#[test]
fn what_a_header_says_to_ignore_is_ignored() {
    let ip = packet();
    for (frame, kind) in [
        (in_ip(47, &[&gre(0x03f8, 0x0800), &ip]), Kind::Gre),
        (
            in_udp((1, 6081), &[&[0, 0x3f, 8, 0, 0, 0, 9, 7], &ip]),
            Kind::Geneve,
        ),
        // A sequence number, and behind it what would be an extension header's type.
        (
            in_udp((1, 2152), &[&gtp(2, 4 + ip.len()), &[0, 1, 0, 0x85], &ip]),
            Kind::Gtp,
        ),
    ] {
        let inner = found(&frame).unwrap().map(|inner| inner.kind);
        assert_eq!(inner, Some(kind));
    }
}
