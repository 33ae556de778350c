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

/// Where fragments begin and end, and whether more follow.
type Places<'a> = &'a [(usize, usize, bool)];

fn at(whole: &[u8], (start, end, more): (usize, usize, bool)) -> Bytes {
    let mut piece = whole.to_vec();
    piece.resize(48, b'+');
    fragment(start, more, &piece[start..end])
}

const OVERLAP: &str = "decoder.ipv6.frag_overlap";
const LENGTH: &str = "decoder.ipv6.frag_invalid_length";

#[test]
fn of_ipv6_all_is_dropped_that_came_of_a_datagram_whose_fragments_do_not_fit() {
    let whole = datagram();
    // Up to the fragment that does not fit.
    let cases: [(Places<'_>, _); 9] = [
        (&[(16, 32, true), (8, 24, true)], OVERLAP),
        (&[(8, 24, true), (16, 32, true)], OVERLAP),
        (&[(0, 16, true), (16, 32, true), (8, 40, false)], OVERLAP),
        // Covered by both, but for a hole between.
        (&[(0, 16, true), (24, 32, true), (8, 32, true)], OVERLAP),
        (&[(32, 40, false), (24, 48, true)], LENGTH),
        (&[(0, 16, true), (32, 48, true), (16, 24, false)], LENGTH),
        (&[(32, 40, false), (16, 32, false)], LENGTH),
        // Covered, but by what came in another order: Linux holds two runs.
        (&[(8, 16, true), (0, 8, true), (0, 16, true)], OVERLAP),
        // Nothing at all.
        (&[(0, 16, true), (16, 16, true)], LENGTH),
    ];
    for (places, name) in cases {
        let mut run = Run::with(Echo::default());
        for place in places {
            run.captured(0, at(&whole, *place));
        }
        let sent = places.len() as u64;
        assert_eq!(anomalies(&run), [(name, Some(FROM.into()))], "{places:?}");
        let stats = run.engine.stats().defrag;
        assert_eq!((stats.abandoned, stats.held_bytes), (sent, 0), "{places:?}");
        // What is left of it makes none, and another try does, as at its receiver's.
        for place in [(32, 40, false), (0, 16, true), (16, 32, true)] {
            assert!(run.shown().is_empty(), "{places:?}");
            run.captured(1, at(&whole, place));
        }
        assert_eq!(run.shown().len(), 1, "{places:?}");
        run.finish();
        assert_eq!(counted(&run), sent + 3, "{places:?}");
    }
}

#[test]
fn of_ipv6_what_lies_within_what_is_there_hides_nothing() {
    let whole = datagram();
    let other = [b'x'; 24];
    for (start, end) in [(8, 24), (24, 32), (16, 32), (8, 32)] {
        let mut run = Run::with(Echo::default());
        for place in [(0, 16, true), (16, 32, true)] {
            run.captured(0, at(&whole, place));
        }
        run.captured(0, fragment(start, true, &other[..end - start]));
        run.captured(0, at(&whole, (32, 40, false)));
        assert_eq!(
            run.shown(),
            [format!(">{}", String::from_utf8_lossy(DATAGRAM))]
        );
        assert_eq!(anomalies(&run), [(OVERLAP, Some(FROM.into()))]);
        let stats = run.engine.stats().defrag;
        assert_eq!((stats.overlaps, stats.abandoned), (1, 0));
    }
}

#[test]
fn of_ipv6_a_duplicate_may_tell_that_it_is_the_last() {
    let whole = datagram();
    let mut run = Run::with(Echo::default());
    for place in [(16, 40, true), (16, 40, false), (0, 16, true)] {
        run.captured(0, at(&whole, place));
    }
    assert_eq!(run.shown().len(), 1);
    assert_eq!(anomalies(&run), []);
}

#[test]
fn the_longest_datagram_of_ipv6_is_put_together() {
    let mut whole = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(FROM, TO, 64)
        .udp(CLIENT_PORT, 53)
        .write(&mut whole, &[b'!'; 65_535 - 8])
        .unwrap();
    let whole = &whole[14 + 40..];
    let mut run = Run::with(Echo::default());
    for (start, end) in [(0, 32_768), (32_768, 65_528), (65_528, 65_535)] {
        run.captured(0, fragment(start, end < whole.len(), &whole[start..end]));
    }
    let lengths: Vec<_> = run.shown().iter().map(String::len).collect();
    assert_eq!(lengths, [1 + 65_535 - 8]);
    let stats = run.engine.stats();
    assert_eq!(
        (stats.defrag.malformed, stats.decoder.checksums.wrong()),
        (0, 0)
    );
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
