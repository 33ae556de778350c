//! Fragments that break the rules.

use std::net::IpAddr;

use super::fragments::in_pieces;
use super::*;

const FROM: [u8; 16] = [0x20; 16];
const TO: [u8; 16] = [0x30; 16];
const DATAGRAM: &[u8] = b"!a datagram of 32 bytes, in all.";

/// A datagram of IPv6, from its UDP header on.
fn datagram() -> Vec<u8> {
    let mut whole = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(FROM, TO, 64)
        .udp(CLIENT_PORT, 53)
        .write(&mut whole, DATAGRAM)
        .unwrap();
    whole.split_off(14 + 40)
}

/// A fragment of IPv6: what is at this place, and whether more follow.
fn fragment(place: usize, more: bool, piece: &[u8]) -> Bytes {
    let mut frame = Vec::new();
    let [high, low] = (place as u16 | u16::from(more)).to_be_bytes();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(FROM, TO, 64)
        .write(
            &mut frame,
            44.into(),
            &[&[17, 0, high, low, 0, 1, 2, 3], piece].concat(),
        )
        .unwrap();
    frame.into()
}

/// Names of the anomalies, and who is said to be the source.
fn anomalies(run: &Run) -> Vec<(&'static str, Option<IpAddr>)> {
    let name = |event: &Event| match &event.body {
        Body::Anomaly { anomaly } => Some((anomaly.event, event.src_ip.map(|ip| ip.0))),
        _ => None,
    };
    run.events.iter().filter_map(name).collect()
}

/// Packets of all flows that have ended.
fn counted(run: &Run) -> u64 {
    let packets = |(_, flow, _): &(&Event, &Flow, Option<&Tcp>)| flow.pkts_toserver;
    run.flows().iter().map(packets).sum()
}

#[test]
fn of_ipv6_nothing_is_left_of_a_datagram_with_overlaps() {
    let whole = datagram();
    let pieces = [
        fragment(0, true, &whole[..16]),
        fragment(16, true, &whole[16..32]),
        fragment(32, false, &whole[32..]),
    ];
    for overlap in [
        fragment(8, true, &whole[8..24]),
        fragment(24, true, &whole[24..32]),
        // In the same place, with other bytes.
        fragment(16, true, &[b'x'; 16]),
        // All of another one, and more.
        fragment(8, false, &whole[8..]),
    ] {
        for order in [[0, 1, 3, 2], [1, 3, 0, 2], [3, 1, 2, 0]] {
            let mut run = Run::with(Echo::default());
            for index in order {
                let piece = pieces.get(index).unwrap_or(&overlap);
                run.captured(0, piece.clone());
            }
            // Nor does another try within the time revive it.
            for piece in &pieces {
                run.captured(1, piece.clone());
            }
            assert!(run.shown().is_empty(), "{order:?}");
            let expected = ("decoder.ipv6.frag_overlap", Some(FROM.into()));
            assert_eq!(anomalies(&run), [expected], "{order:?}");
            let stats = run.engine.stats().defrag;
            assert_eq!((stats.held_bytes, stats.reassembled), (0, 0));
            assert_eq!((stats.abandoned, stats.malformed), (7, 0), "{order:?}");
            run.finish();
            assert_eq!(counted(&run), 7, "{order:?}");
        }
    }
}

#[test]
fn of_ipv6_an_exact_duplicate_harms_nobody() {
    let whole = datagram();
    let mut run = Run::with(Echo::default());
    let first = fragment(0, true, &whole[..16]);
    for piece in [first.clone(), first, fragment(16, false, &whole[16..])] {
        run.captured(0, piece);
    }
    assert_eq!(run.shown().len(), 1);
    assert_eq!(anomalies(&run), []);
    let stats = run.engine.stats().defrag;
    assert_eq!((stats.overlaps, stats.abandoned), (1, 0));
}

#[test]
fn of_ipv4_the_bytes_that_came_first_stand() {
    let pieces = in_pieces(&udp(true, DATAGRAM), 16);
    let mut again = pieces[1].to_vec();
    again[14 + 20..].fill(b'x');
    let mut run = Run::with(Echo::default());
    run.captured(0, pieces[1].clone());
    run.captured(0, again.into());
    run.captured(0, pieces[0].clone());
    run.captured(0, pieces[2].clone());
    assert_eq!(
        run.shown(),
        [format!(">{}", String::from_utf8_lossy(DATAGRAM))]
    );
    assert_eq!(anomalies(&run), []);
}

/// RFC 6946: a whole packet, whatever else has its identification.
#[test]
fn an_atomic_fragment_has_nothing_to_do_with_others() {
    let whole = datagram();
    let mut run = Run::with(Echo::default());
    run.captured(0, fragment(0, true, &whole[..16]));
    run.captured(0, fragment(0, false, &whole));
    assert_eq!(run.shown().len(), 1);
    run.captured(0, fragment(16, false, &whole[16..]));
    assert_eq!(run.shown().len(), 2);
    assert_eq!(anomalies(&run), []);
}

#[test]
fn lengths_that_no_datagram_has_are_told_once_and_refused() {
    let whole = datagram();
    let mut beyond = in_pieces(&udp(true, DATAGRAM), 16).pop().unwrap().to_vec();
    // The place of the last 8 bytes that IPv4 can tell, without its header.
    beyond[14 + 6..14 + 8].copy_from_slice(&(65_520_u16 / 8).to_be_bytes());
    set_header_checksum(&mut beyond);
    for (frame, expected, source) in [
        (
            fragment(0, true, &whole[..13]),
            "decoder.ipv6.frag_invalid_length",
            IpAddr::from(FROM),
        ),
        (
            fragment(65_528, false, &whole[..8]),
            "decoder.ipv6.frag_pkt_too_large",
            FROM.into(),
        ),
        (
            beyond.into(),
            "decoder.ipv4.frag_pkt_too_large",
            CLIENT.into(),
        ),
    ] {
        let mut run = Run::with(Echo::default());
        for _ in 0..5 {
            run.captured(0, frame.clone());
        }
        assert_eq!(anomalies(&run), [(expected, Some(source))]);
        let stats = run.engine.stats().defrag;
        assert_eq!((stats.malformed, stats.held_bytes), (5, 0), "{expected}");
        run.finish();
        assert_eq!(counted(&run), 5);
    }
}

fn set_header_checksum(frame: &mut [u8]) {
    let ip = etherparse::Ipv4Header::from_slice(&frame[14..]).unwrap().0;
    frame[24..26].copy_from_slice(&ip.calc_header_checksum().to_be_bytes());
}

#[test]
fn a_fragments_header_has_a_checksum_of_its_own() {
    let mut pieces = in_pieces(&udp(true, DATAGRAM), 16);
    let mut wrong = pieces[1].to_vec();
    wrong[14 + 8] ^= 1;
    pieces[1] = wrong.into();
    for (strict, shown) in [(false, 1), (true, 0)] {
        let mut run = Run::new(EngineConfig {
            registry: Registry::new(vec![Box::new(Echo::default())]),
            strict_checksums: strict,
            ..EngineConfig::default()
        });
        for piece in &pieces {
            run.captured(0, piece.clone());
        }
        assert_eq!(run.shown().len(), shown);
        let expected = ("decoder.ipv4.invalid_checksum", Some(CLIENT.into()));
        assert_eq!(anomalies(&run), [expected]);
        assert_eq!(run.engine.stats().decoder.checksums.ipv4, 1);
        run.finish();
        assert_eq!(counted(&run), 3, "counted in either case");
    }
}
