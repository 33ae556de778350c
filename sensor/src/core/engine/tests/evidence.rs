//! Frames can be had for what they led to.

use super::capture::fragments;
use super::tunnels::vxlan;
use super::*;

fn run(evidence_bytes: usize) -> Run {
    Run::new(EngineConfig {
        registry: Registry::new(vec![Box::new(Echo::default())]),
        limits: Limits {
            evidence_bytes,
            ..Limits::default()
        },
        ..EngineConfig::default()
    })
}

fn numbers(run: &Run, flow: u64) -> Vec<u64> {
    let number = |frame: &Frame| match frame.origin {
        Origin::Capture { number } | Origin::Sample { number, .. } => number,
    };
    run.engine.frames_of(flow).map(number).collect()
}

#[test]
fn the_latest_frames_of_a_flow_are_there_as_far_as_there_is_room() {
    let asks = udp(true, b"!asks");
    let other = client("S", 1, 0, b"").bytes();
    let mut run = run(8 * 1024);
    for number in 0..200 {
        run.captured(
            number,
            if number % 4 == 0 {
                asks.clone()
            } else {
                other.clone()
            },
        );
    }
    let flow = run.events[0].flow_id.unwrap();
    let kept = numbers(&run, flow);
    assert!((3..=40).contains(&kept.len()), "{kept:?}");
    let expected: Vec<_> = (0..50).map(|number| number * 4 + 1).collect();
    assert_eq!(kept, expected[50 - kept.len()..]);
    assert!(run.engine.frames_of(flow).all(|frame| frame.data == asks));
    assert_eq!(run.engine.frames_of(flow + 1).count(), 0);
}

#[test]
fn a_frame_is_there_for_each_flow_that_it_has_a_packet_of_and_by_default_for_none() {
    for (limit, count) in [(1 << 20, 1), (0, 0)] {
        let mut run = run(limit);
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .write(
                &mut frame,
                etherparse::ip_number::IPV4,
                &udp(true, b"!in")[14..],
            )
            .unwrap();
        run.captured(0, frame.into());
        run.finish();
        for (event, ..) in run.flows() {
            assert_eq!(numbers(&run, event.flow_id.unwrap()).len(), count);
        }
        assert_eq!(run.flows().len(), 2);
    }
}

#[test]
fn all_frames_of_a_datagram_are_there_for_what_is_in_it() {
    let pieces = fragments(b"!a datagram of some length", 16);
    for tunnelled in [false, true] {
        for limit in [1 << 20, 0] {
            let mut run = run(limit);
            let whole = udp(true, b"!another");
            for (ms, frame) in [&pieces[2], &whole, &pieces[0], &pieces[1]]
                .into_iter()
                .enumerate()
            {
                let frame = if tunnelled {
                    vxlan(true, frame)
                } else {
                    frame.clone()
                };
                run.captured(ms as u64, frame);
            }
            assert_eq!(run.shown().len(), 2);
            let flow = run.events[0].flow_id.unwrap();
            let expected: &[u64] = if limit > 0 { &[1, 2, 3, 4] } else { &[] };
            assert_eq!(numbers(&run, flow), expected);
            assert_eq!(run.engine.stats().defrag.held_bytes, 0);
        }
    }
}

#[test]
fn a_frame_takes_room_once_however_many_packets_are_in_it() {
    let frame = vxlan(true, &udp(true, &[b'!'; 1000]));
    let mut run = run(8 * 1024);
    for _ in 0..20 {
        run.captured(0, frame.clone());
    }
    run.finish();
    let kept: Vec<_> = run
        .flows()
        .iter()
        .map(|(event, ..)| numbers(&run, event.flow_id.unwrap()).len())
        .collect();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|count| (6..=7).contains(count)), "{kept:?}");
}
