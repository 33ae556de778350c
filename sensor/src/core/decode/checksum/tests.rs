use etherparse::PacketBuilder;
use proptest::prelude::*;
use sensor_ebpf::parse::Origin;

use super::*;

const V4: ([u8; 4], [u8; 4]) = ([192, 0, 2, 1], [198, 51, 100, 2]);
const V6: ([u8; 16], [u8; 16]) = ([0x20; 16], [0xfe; 16]);

/// A frame of each protocol that has a checksum; etherparse computes it.
fn frames(payload: &[u8]) -> Vec<Vec<u8>> {
    let ethernet = || PacketBuilder::ethernet2([2; 6], [4; 6]);
    let mut frames = Vec::new();
    for v6 in [false, true] {
        let ip = || {
            if v6 {
                ethernet().ipv6(V6.0, V6.1, 64)
            } else {
                ethernet().ipv4(V4.0, V4.1, 64)
            }
        };
        let mut each = [const { Vec::new() }; 3];
        let [tcp, udp, icmp] = &mut each;
        ip().tcp(1, 2, 3, 4).write(tcp, payload).unwrap();
        ip().udp(1, 2).write(udp, payload).unwrap();
        if v6 {
            ip().icmpv6_echo_request(1, 2).write(icmp, payload).unwrap();
        } else {
            ip().icmpv4_echo_request(1, 2).write(icmp, payload).unwrap();
        }
        frames.extend(each);
    }
    frames
}

fn verdicts(frame: &[u8]) -> (Checksum, Checksum) {
    let (key, headers) = sensor_ebpf::parse::ethernet(frame, Origin::CAPTURE).unwrap();
    let packet = Packet {
        key,
        headers,
        in_kernel: true,
    };
    (network(&packet, frame), transport(&packet, frame))
}

fn is_v6(frame: &[u8]) -> bool {
    frame[12] == 0x86
}

proptest! {
    #[test]
    fn right_ones_are_right_and_a_changed_byte_is_found(
        payload in prop::collection::vec(any::<u8>(), 0..200),
        place in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        for mut frame in frames(&payload) {
            let header = if is_v6(&frame) { Checksum::Unknown } else { Checksum::Right };
            prop_assert_eq!(verdicts(&frame), (header, Checksum::Right));
            // Padding is none of it.
            frame.extend_from_slice(&[7; 9]);
            prop_assert_eq!(verdicts(&frame), (header, Checksum::Right));
            frame.truncate(frame.len() - 9);
            if !payload.is_empty() {
                let at = frame.len() - payload.len() + place.index(payload.len());
                frame[at] ^= change;
                prop_assert_eq!(verdicts(&frame), (header, Checksum::Wrong));
                frame.pop();
                prop_assert_eq!(verdicts(&frame), (header, Checksum::Unknown), "cut");
            }
        }
    }
}

#[test]
fn what_is_left_to_the_device_is_not_wrong() {
    for (frame, (at, zero)) in frames(b"abc").into_iter().zip([
        (16, Checksum::Offloaded),
        (6, Checksum::Unknown),
        (2, Checksum::Wrong),
        (16, Checksum::Offloaded),
        // RFC 8200 section 8.1.
        (6, Checksum::Wrong),
        (2, Checksum::Wrong),
    ]) {
        let transport = if is_v6(&frame) { 54 } else { 34 };
        let field = transport + at..transport + at + 2;
        let mut none = frame.clone();
        none[field.clone()].fill(0);
        assert_eq!(verdicts(&none).1, zero);
        if at == 2 {
            // No device computes that of ICMP.
            continue;
        }
        // What Linux leaves for the device: the sum of the pseudo-header alone.
        let covered = frame.len() - transport;
        let (addresses, protocol) = if is_v6(&frame) {
            (&frame[22..54], frame[20])
        } else {
            (&frame[26..34], frame[23])
        };
        let words = addresses
            .chunks(2)
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let sum: u32 = words.sum::<u32>() + covered as u32 + u32::from(protocol);
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = ((folded & 0xffff) + (folded >> 16)) as u16;
        let mut partial = frame.clone();
        partial[field].copy_from_slice(&folded.to_be_bytes());
        assert_eq!(verdicts(&partial).1, Checksum::Offloaded);
    }
}

#[test]
fn the_header_of_ipv4_has_its_own() {
    let mut frame = frames(b"").remove(0);
    frame[14 + 8] ^= 1;
    assert_eq!(verdicts(&frame), (Checksum::Wrong, Checksum::Right));
    frame[14 + 10..14 + 12].fill(0);
    assert_eq!(verdicts(&frame).0, Checksum::Offloaded);
}

#[test]
fn other_addresses_than_the_headers_may_have_been_summed() {
    // A routing header whose last stop is still to come, or not; options with a home address
    // behind some padding, or with other ones.
    for (kind, header, expected) in [
        (43, [6, 2, 0, 1, 0, 0, 0, 0], Checksum::Unknown),
        (43, [6, 2, 0, 0, 0, 0, 0, 0], Checksum::Wrong),
        (60, [6, 2, 0, 1, 0, 201, 16, 9], Checksum::Unknown),
        (60, [6, 2, 0, 1, 0, 5, 16, 9], Checksum::Wrong),
    ] {
        let mut frame = frames(b"abc").remove(3);
        frame.splice(54..54, header.into_iter().chain([9; 16]));
        frame[20] = kind;
        let len = (frame.len() - 54) as u16;
        frame[18..20].copy_from_slice(&len.to_be_bytes());
        frame[22] ^= 1;
        assert_eq!(verdicts(&frame).1, expected, "{header:?}");
    }
}

#[test]
fn tunnels_need_no_checksum_over_ipv6() {
    for (port, expected) in [
        (4789, Checksum::Unknown),
        (6081, Checksum::Unknown),
        (2152, Checksum::Unknown),
        (4341, Checksum::Unknown),
        (4754, Checksum::Unknown),
        (4791, Checksum::Unknown),
        (53, Checksum::Wrong),
    ] {
        for place in [54, 56] {
            let mut frame = frames(b"abc").remove(4);
            frame[place..place + 2].copy_from_slice(&u16::to_be_bytes(port));
            frame[60..62].fill(0);
            assert_eq!(verdicts(&frame).1, expected, "{port}");
        }
    }
}

#[test]
fn of_ipv4s_options_only_a_route_with_stops_left_replaces_the_destination() {
    let route = |kind, pointer| [1, kind, 7, pointer, 9, 9, 9, 9];
    for (options, expected) in [
        (route(131, 4), Checksum::Unknown),
        (route(137, 4), Checksum::Unknown),
        (route(131, 8), Checksum::Wrong),
        (route(137, 8), Checksum::Wrong),
        // A recorded route, a router alert, what is behind the end, and lengths that lie.
        (route(7, 4), Checksum::Wrong),
        ([148, 4, 0, 0, 131, 4, 4, 0], Checksum::Unknown),
        ([148, 4, 0, 0, 0, 131, 4, 4], Checksum::Wrong),
        ([130, 0, 131, 7, 4, 0, 0, 0], Checksum::Wrong),
        ([130, 99, 131, 7, 4, 0, 0, 0], Checksum::Wrong),
    ] {
        for (frame, is_right) in [(0, true), (0, false), (1, true), (1, false)] {
            let mut frame = frames(b"abc").remove(frame);
            frame.splice(34..34, options);
            frame[14] = 0x47;
            let len = (frame.len() - 14) as u16;
            frame[16..18].copy_from_slice(&len.to_be_bytes());
            let right = if is_right { Checksum::Right } else { expected };
            if !is_right {
                let last = frame.len() - 1;
                frame[last] ^= 1;
            }
            assert_eq!(verdicts(&frame).1, right, "{options:?}");
        }
    }
}
