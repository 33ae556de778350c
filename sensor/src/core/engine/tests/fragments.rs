//! Datagrams in fragments: of IPv6 with headers before and behind the fragment header, and live.

use super::live::sampled;
use super::*;

const FROM: [u8; 16] = [0x20; 16];
const TO: [u8; 16] = [0x30; 16];
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const UDP: u8 = 17;

/// Options that say nothing, before a header of this kind.
const fn options(next: u8) -> [u8; 8] {
    [next, 0, 1, 4, 0, 0, 0, 0]
}

/// The datagram behind destination options, in fragments of so many bytes.
fn fragments(payload: &[u8], size: usize, options_before: bool) -> Vec<Bytes> {
    let mut whole = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(FROM, TO, 64)
        .udp(CLIENT_PORT, 53)
        .write(&mut whole, payload)
        .unwrap();
    let (ethernet, rest) = whole.split_at(14);
    let (ip, datagram) = rest.split_at(40);
    let fragmented = [&options(UDP)[..], datagram].concat();
    let pieces = fragmented.chunks(size).enumerate();
    let frame = |(index, piece): (usize, &[u8])| {
        let more = (index + 1) * size < fragmented.len();
        let place = (index * size) as u16 | u16::from(more);
        let [high, low] = place.to_be_bytes();
        let header = [DESTINATION, 0, high, low, 0, 1, 2, 3];
        let before = if options_before {
            options(FRAGMENT).to_vec()
        } else {
            vec![]
        };
        let mut ip = ip.to_vec();
        let len = (before.len() + header.len() + piece.len()) as u16;
        ip[4..6].copy_from_slice(&len.to_be_bytes());
        ip[6] = if options_before {
            DESTINATION
        } else {
            FRAGMENT
        };
        Bytes::from([ethernet, &ip, &before, &header, piece].concat())
    };
    pieces.map(frame).collect()
}

/// An IPv4 frame in fragments of so many bytes.
pub(super) fn in_pieces(frame: &[u8], size: usize) -> Vec<Bytes> {
    let (header, rest) = frame.split_at(14 + 20);
    let pieces = rest.chunks(size).enumerate().map(|(index, piece)| {
        let more = (index + 1) * size < rest.len();
        let place = (index * size / 8) as u16 | if more { 0x2000 } else { 0 };
        let mut header = header.to_vec();
        header[16..18].copy_from_slice(&(20 + piece.len() as u16).to_be_bytes());
        header[20..22].copy_from_slice(&place.to_be_bytes());
        let ip = etherparse::Ipv4Header::from_slice(&header[14..]).unwrap().0;
        header[24..26].copy_from_slice(&ip.calc_header_checksum().to_be_bytes());
        Bytes::from([&header, piece].concat())
    });
    pieces.collect()
}

#[test]
fn headers_behind_the_fragment_header_are_part_of_what_is_fragmented() {
    for options_before in [false, true] {
        let pieces = fragments(b"!a datagram of some length", 24, options_before);
        assert_eq!(pieces.len(), 2);
        for order in [[0, 1], [1, 0]] {
            let mut run = Run::with(Echo::default());
            for index in order {
                run.captured(index as u64, pieces[index].clone());
            }
            assert_eq!(run.shown(), [">!a datagram of some length"]);
            assert_eq!(run.engine.stats().decoder.checksums.udp, 0);
            run.finish();
            let [(event, flow, _)] = run.flows()[..] else {
                panic!("one flow")
            };
            assert_eq!(
                (event.src_port, event.dest_port),
                (Some(CLIENT_PORT), Some(53))
            );
            assert_eq!(flow.pkts_toserver, 2);
            let stats = run.engine.stats().defrag;
            assert_eq!(
                (stats.reassembled, stats.malformed, stats.held_bytes),
                (1, 0, 0)
            );
        }
    }
}

#[test]
fn what_fragments_hold_is_bounded_also_of_datagrams_that_are_known() {
    let limit = 4096;
    let limits = Limits {
        fragment_bytes: limit,
        ..Limits::default()
    };
    let mut run = Run::new(EngineConfig {
        limits,
        ..EngineConfig::default()
    });
    let pieces = fragments(&[7; 1200], 400, false);
    let mut sent = 0;
    // All datagrams begin first, and grow then.
    for piece in &pieces[..2] {
        for id in 0..20 {
            let mut frame = piece.to_vec();
            frame[14 + 40 + 7] = id;
            run.captured(0, frame.into());
            sent += 1;
            let held = run.engine.stats().defrag.held_bytes;
            assert!(held <= limit as u64, "{held}");
        }
    }
    run.finish();
    let counted: u64 = run
        .flows()
        .iter()
        .map(|(_, flow, _)| flow.pkts_toserver)
        .sum();
    assert_eq!(counted, sent, "each fragment is counted once");
    assert!(run.engine.stats().defrag.dropped > 0);
}

/// What the kernel numbers later fragments under is a flow without ports.
#[test]
fn live_a_datagram_has_the_number_of_its_first_fragment() {
    let first = client("A", 101, 501, b"!a").bytes();
    let later = in_pieces(&client("A", 105, 501, b"cccccccc").bytes(), 24);
    let last = client("A", 103, 501, b"bb").bytes();
    for (numbers, shown) in [
        // Nothing of the flow was left out: what is missing may still come.
        ([2, 77], &[">!a", ">bb", ">cccccccc"][..]),
        ([9, 2], &[">!a", ">[Sampling 2]", ">cccccccc"]),
    ] {
        let mut run = Run::with(Echo::default());
        run.frame(&sampled(0, 1, 1, false, first.clone()));
        for (piece, number) in later.iter().zip(numbers) {
            run.frame(&sampled(0, 1, number, false, piece.clone()));
        }
        run.frame(&sampled(0, 1, 3, false, last.clone()));
        assert_eq!(run.shown(), shown);
    }
}

#[test]
fn a_datagram_that_was_whole_takes_no_later_one_with_it_when_its_time_is_over() {
    let pieces = fragments(b"!a datagram of some length", 24, false);
    let mut other = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(FROM, TO, 64)
        .udp(CLIENT_PORT, 9)
        .write(&mut other, b"another")
        .unwrap();
    let mut run = Run::with(Echo::default());
    run.captured(0, pieces[0].clone());
    run.captured(0, pieces[1].clone());
    run.captured(59_000, pieces[0].clone());
    run.captured(65_000, other.into());
    run.captured(65_000, pieces[1].clone());
    let stats = run.engine.stats().defrag;
    assert_eq!((stats.reassembled, stats.timeouts), (2, 0));
}
