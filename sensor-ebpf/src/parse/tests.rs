//! Against etherparse's builders, and against frames cut anywhere.

use etherparse::{IpNumber, PacketBuilder, VlanId};
use proptest::prelude::*;

use super::*;
use crate::abi::{FlowKey, key_flags};

fn mapped(v4: [u8; 4]) -> [u8; 16] {
    std::net::Ipv4Addr::from(v4).to_ipv6_mapped().octets()
}

fn tcp(payload: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([192, 0, 2, 1], [198, 51, 100, 2], 64)
        .tcp(40_000, 443, 1, 1024)
        .syn()
        .write(&mut frame, &vec![0; payload])
        .expect("writing to memory");
    frame
}

#[test]
fn a_tcp_segment_yields_its_key_flags_and_offsets() {
    let (key, headers) = ethernet(&tcp(10), Origin::CAPTURE).expect("a whole frame");
    assert_eq!(key.src, mapped([192, 0, 2, 1]));
    assert_eq!(key.dst, mapped([198, 51, 100, 2]));
    assert_eq!((key.src_port, key.dst_port, key.protocol), (40_000, 443, 6));
    assert_eq!((key.flags, key.vlan), (0, [0, 0]));
    assert_eq!(headers.tcp_flags, 2);
    assert_eq!(
        (headers.ip, headers.transport, headers.payload, headers.end),
        (14, 34, 54, 64)
    );
}

#[test]
fn a_frame_cut_anywhere_is_truncated_or_yields_the_same_key() {
    let frame = tcp(100);
    let whole = ethernet(&frame, Origin::CAPTURE).expect("a whole frame");
    for len in 0..frame.len() {
        let cut = ethernet(&frame[..len], Origin::CAPTURE);
        if len < whole.1.payload {
            assert_eq!(cut, Err(UnparsedReason::Truncated.into()), "at {len}");
        } else {
            assert_eq!(cut, Ok(whole), "at {len}");
        }
    }
}

/// Puts tags between the addresses and the ethertype.
fn tagged(frame: &[u8], tcis: &[u16]) -> Vec<u8> {
    let mut with = frame[..12].to_vec();
    for tci in tcis {
        with.extend([0x81, 0x00]);
        with.extend(tci.to_be_bytes());
    }
    with.extend(&frame[12..]);
    with
}

#[test]
fn the_outer_two_of_four_tags_are_in_the_key_and_a_fifth_is_too_many() {
    let key = |tcis: &[u16]| ethernet(&tagged(&tcp(0), tcis), Origin::CAPTURE).map(|(key, _)| key);
    let (vlan, qinq) = (key_flags::VLAN, key_flags::VLAN | key_flags::QINQ);
    assert!(key(&[0xe000]).is_ok_and(|key| key.vlan == [0, 0] && key.flags == vlan));
    assert!(key(&[7, 8]).is_ok_and(|key| key.vlan == [7, 8] && key.flags == qinq));
    assert!(key(&[7, 8, 9, 10]).is_ok_and(|key| key.vlan == [7, 8] && key.dst_port == 443));
    assert_eq!(key(&[1, 2, 3, 4, 5]), Err(UnparsedReason::VlanDepth.into()));
    let outside = Origin {
        vlan: Some(0x6005),
        ..Origin::CAPTURE
    };
    let (key, _) = ethernet(&tagged(&tcp(0), &[9]), outside).expect("a whole frame");
    assert_eq!(key.vlan, [5, 9]);
}

#[test]
fn later_fragments_have_no_ports_and_the_first_has_its_own() {
    let mut first = tcp(64);
    first[20] = 0x20;
    let (key, headers) = ethernet(&first, Origin::CAPTURE).expect("a first fragment");
    assert_eq!((key.dst_port, key.flags), (443, 0));
    assert!(
        headers
            .fragment
            .is_some_and(|fragment| fragment.more && fragment.offset == 0)
    );
    let mut later = tcp(64);
    later[21] = 4;
    let (key, headers) = ethernet(&later, Origin::CAPTURE).expect("a later fragment");
    assert_eq!(
        (key.src_port, key.dst_port, key.flags),
        (0, 0, key_flags::FRAGMENT)
    );
    assert_eq!(headers.fragment.map(|fragment| fragment.offset), Some(32));
}

#[test]
fn wrong_headers_are_named() {
    let broken = |at: usize, value: u8| {
        let mut frame = tcp(0);
        frame[at] = value;
        ethernet(&frame, Origin::CAPTURE).map(|_| ())
    };
    assert_eq!(broken(14, 0x65), Err(UnparsedReason::BadIpv4.into()));
    assert_eq!(broken(14, 0x44), Err(UnparsedReason::BadIpv4.into()));
    assert_eq!(broken(17, 19), Err(UnparsedReason::BadIpv4.into()));
    // The packet ends within its TCP header: what follows is padding, and no ports.
    assert_eq!(broken(17, 30), Err(UnparsedReason::Truncated.into()));
    assert_eq!(broken(13, 0x06), Err(Unkeyed::NonIp));
}

/// An IPv6 packet with `headers` of 8 bytes each, all of one type, before UDP.
fn extended(kind: u8, headers: usize) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 8 + 8 * headers as u8, kind, 64];
    packet.extend([0x20; 32]);
    for left in (0..headers).rev() {
        packet.extend([if left == 0 { 17 } else { kind }, 0, 0, 0, 0, 0, 0, 0]);
    }
    packet.extend([0, 53, 1, 0, 0, 8, 0, 0]);
    packet
}

#[test]
fn six_extension_headers_are_followed_and_a_seventh_is_too_many() {
    let parse = |kind, headers| ip(&extended(kind, headers), 0, Origin::CAPTURE, &[]);
    for kind in [0, 43, 60] {
        for headers in 1..=MAX_EXTENSION_HEADERS {
            let (key, offsets) = parse(kind, headers).expect("a whole packet");
            assert_eq!((key.protocol, key.src_port, key.dst_port), (17, 53, 256));
            assert_eq!(offsets.transport, 40 + 8 * headers);
        }
    }
    assert_eq!(parse(60, 7), Err(UnparsedReason::ExtensionDepth.into()));
    // An atomic fragment is whole, a later one has no ports.
    let mut packet = extended(44, 1);
    assert!(ip(&packet, 0, Origin::CAPTURE, &[]).is_ok_and(|(key, _)| key.src_port == 53));
    packet[43] = 0x08;
    let (key, _) = ip(&packet, 0, Origin::CAPTURE, &[]).expect("a whole packet");
    assert_eq!((key.src_port, key.protocol), (0, 17));
    assert_eq!(key.flags, key_flags::IPV6 | key_flags::FRAGMENT);
}

proptest! {
    #[test]
    fn what_etherparse_builds_is_read_back(
        src in any::<[u8; 16]>(), dst in any::<[u8; 16]>(), ports in any::<(u16, u16)>(),
        v6 in any::<bool>(), kind in 0..3_u8, vlan in proptest::option::of(0..4096_u16),
        payload in 0..200_usize,
    ) {
        let ethernet2 = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let [a, b] = [&src, &dst].map(|ip| [ip[0], ip[1], ip[2], ip[3]]);
        let ip_step = match vlan {
            Some(id) => {
                let step = ethernet2.single_vlan(VlanId::try_new(id).expect("12 bits"));
                if v6 { step.ipv6(src, dst, 3) } else { step.ipv4(a, b, 3) }
            }
            None if v6 => ethernet2.ipv6(src, dst, 3),
            None => ethernet2.ipv4(a, b, 3),
        };
        let mut frame = Vec::new();
        let data = vec![1; payload];
        match kind {
            0 => ip_step.udp(ports.0, ports.1).write(&mut frame, &data),
            1 => ip_step.tcp(ports.0, ports.1, 7, 8).ack(9).psh().write(&mut frame, &data),
            _ => ip_step.write(&mut frame, IpNumber::GRE, &data),
        }.expect("writing to memory");
        let (key, headers) = ethernet(&frame, Origin::CAPTURE).expect("a whole frame");
        let expected = FlowKey {
            src: if v6 { src } else { mapped(a) },
            dst: if v6 { dst } else { mapped(b) },
            src_port: if kind < 2 { ports.0 } else { 0 },
            dst_port: if kind < 2 { ports.1 } else { 0 },
            vlan: [vlan.unwrap_or(0), 0],
            protocol: [17, 6, 47][usize::from(kind)],
            flags: u16::from(v6) | if vlan.is_some() { key_flags::VLAN } else { 0 },
            ..FlowKey::default()
        };
        prop_assert_eq!(key, expected);
        // A length field of 0 says nothing: IPv6 without payload.
        prop_assert!(headers.end == frame.len() || headers.end == usize::MAX);
        prop_assert_eq!(headers.payload, frame.len() - payload);
        prop_assert_eq!(headers.tcp_flags, if kind == 1 { 0x18 } else { 0 });
    }

    #[test]
    fn nothing_panics(frame in proptest::collection::vec(any::<u8>(), 0..200), at in 0..64_usize) {
        let _ = ethernet(&frame, Origin::CAPTURE);
        let _ = ip(&frame, at, Origin::CAPTURE, &[1, 2, 3]);
    }
}
