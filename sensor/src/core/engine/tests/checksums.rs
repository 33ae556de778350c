//! Wrong checksums are told, and believed only where that is asked for.

use super::live::sampled;
use super::*;
use crate::core::stats::ChecksumStats;

/// A request with a wrong checksum, and the same sent again.
fn segments() -> (Bytes, Bytes) {
    let right = client("A", 101, 501, b"!right").bytes();
    let mut wrong = client("A", 101, 501, b"!wrong").bytes().to_vec();
    wrong[14 + 20 + 16] ^= 1;
    (wrong.into(), right)
}

fn run(strict_checksums: bool) -> Run {
    Run::new(EngineConfig {
        registry: Registry::new(vec![Box::new(Echo::default())]),
        strict_checksums,
        ..EngineConfig::default()
    })
}

fn anomalies(run: &Run) -> Vec<&'static str> {
    let name = |event: &Event| match &event.body {
        Body::Anomaly { anomaly } => Some(anomaly.event),
        _ => None,
    };
    run.events.iter().filter_map(name).collect()
}

#[test]
fn a_wrong_segment_is_dissected_unless_that_is_refused() {
    for (strict, shown) in [(false, ">!wrong"), (true, ">!right")] {
        let mut run = run(strict);
        run.segments(&handshake());
        let (wrong, right) = segments();
        run.captured(10, wrong.clone());
        run.captured(11, wrong);
        run.captured(12, right);
        assert_eq!(run.shown(), [shown]);
        // Once a flow, however often it happens.
        assert_eq!(anomalies(&run), ["decoder.tcp.invalid_checksum"]);
        let checksums = run.engine.stats().decoder.checksums;
        assert_eq!(
            checksums,
            ChecksumStats {
                verified: 6,
                tcp: 2,
                ..ChecksumStats::default()
            }
        );
        run.finish();
        assert_eq!(run.flows()[0].1.pkts_toserver, 5, "counted in either case");
    }
}

#[test]
fn a_wrong_datagram_is_dissected_unless_that_is_refused() {
    let mut frame = udp(true, b"!asks").to_vec();
    let last = frame.len() - 1;
    frame[last] = b'?';
    for (strict, shown) in [(false, vec![">!ask?"]), (true, vec![])] {
        let mut run = run(strict);
        run.captured(0, frame.clone().into());
        assert_eq!(run.shown(), shown);
        assert_eq!(anomalies(&run), ["decoder.udp.invalid_checksum"]);
    }
}

#[test]
fn what_the_senders_device_is_to_compute_is_neither_wrong_nor_refused() {
    let mut frame = client("A", 101, 501, b"!sent").bytes().to_vec();
    frame[14 + 20 + 16..][..2].fill(0);
    frame[14 + 10..][..2].fill(0);
    let mut run = run(true);
    run.segments(&handshake());
    run.captured(10, frame.into());
    assert_eq!(
        (run.shown(), anomalies(&run)),
        (vec![">!sent".to_owned()], vec![])
    );
    assert_eq!(run.engine.stats().decoder.checksums.offloaded, 1);
}

#[test]
fn samples_on_their_way_out_are_not_judged() {
    let (wrong, _) = segments();
    for (egress, count) in [(true, 0), (false, 1)] {
        let mut run = run(true);
        run.frame(&sampled(0, 1, 1, egress, wrong.clone()));
        assert_eq!(run.engine.stats().decoder.checksums.tcp, count);
        assert_eq!(run.shown().len(), 1 - count as usize);
    }
}

/// A segment in a tunnel, as Linux hands it to a device that computes checksums: the inner one is
/// left out, and the outer one computed as if it were there.
#[test]
fn the_checksum_of_a_tunnel_reckons_with_what_the_device_fills_in() {
    let inner = client("A", 101, 501, b"!sent").bytes();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(50_000, 4789)
        .write(
            &mut frame,
            &[&[8, 0, 0, 0, 0, 0, 42, 0], &inner[..]].concat(),
        )
        .unwrap();
    frame[14 + 28 + 8 + 14 + 20 + 16..][..2].fill(0);
    let mut run = run(true);
    run.captured(0, frame.into());
    assert_eq!(
        (run.shown(), anomalies(&run)),
        (vec![">!sent".to_owned()], vec![])
    );
    let checksums = run.engine.stats().decoder.checksums;
    assert_eq!((checksums.wrong(), checksums.offloaded), (0, 2));
}

#[test]
fn of_large_packets_some_are_verified_and_all_where_wrong_ones_are_refused() {
    let mut frame = udp(true, &[b'!'; 600]).to_vec();
    frame[600] ^= 1;
    for (strict, verified) in [(false, 2), (true, 32)] {
        let mut run = run(strict);
        for number in 0..32 {
            run.captured(number, frame.clone().into());
        }
        let checksums = run.engine.stats().decoder.checksums;
        assert_eq!((checksums.verified, checksums.udp), (verified, verified));
    }
}

#[test]
fn what_is_refused_opens_nothing_and_has_nothing_within() {
    let mut wrong = client("S", 7_000, 0, b"").bytes().to_vec();
    wrong[14 + 20 + 16] ^= 1;
    for (strict, flows) in [(false, 1), (true, 0)] {
        let mut run = run(strict);
        run.segments(&handshake());
        run.captured(10, wrong.clone().into());
        assert_eq!(
            run.flows().len(),
            flows,
            "a new connection ends the old one"
        );
    }
    let mut outer = Vec::new();
    let inner = udp(true, b"!within");
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(50_000, 4789)
        .write(
            &mut outer,
            &[&[8, 0, 0, 0, 0, 0, 42, 0], &inner[..]].concat(),
        )
        .unwrap();
    outer[14 + 20 + 6] ^= 1;
    for (strict, shown) in [(false, vec![">!within"]), (true, vec![])] {
        let mut run = run(strict);
        run.captured(0, outer.clone().into());
        assert_eq!(run.shown(), shown);
    }
}
