//! Live: which counts are the kernel's, and which are those of samples.

use proptest::prelude::*;

use super::fragments::in_pieces;
use super::live::{counted, drained, sampled};
use super::tunnels::vxlan;
use super::*;

/// The frame behind a label of MPLS, where the kernel looks for no IP.
fn labelled(frame: &[u8]) -> Bytes {
    let mut frame = frame.to_vec();
    frame.splice(12..14, [0x88, 0x47, 0, 1, 0x01, 64]);
    frame.into()
}

/// Datagrams, connections that follow one another, and fragments.
fn frames() -> Vec<Bytes> {
    let segments = [
        client("S", 100, 0, b""),
        server("SA", 500, 101, b""),
        client("A", 101, 501, b"!a"),
        client("RA", 103, 501, b""),
        client("S", 9_000, 0, b""),
    ];
    let mut frames = vec![udp(true, b"!asks"), udp(false, b"!answers")];
    frames.extend(segments.iter().map(Seg::bytes));
    frames.extend(in_pieces(&udp(true, b"!a datagram of some length"), 16));
    frames
}

proptest! {
    /// Whatever of a flow is plain, labelled, in a tunnel, or in pieces.
    #[test]
    fn each_packet_is_told_once_and_as_what_it_was_counted_as(
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0..4, 0_u64..4), 0..80),
    ) {
        let frames = frames();
        let mut run = Run::with(Echo::default());
        let (mut epoch, mut by_kernel, mut by_samples) = (1, 0, 0);
        for (frame, what, number) in steps {
            let plain = frame.get(&frames);
            let sample = |data| sampled(epoch, epoch, number, false, data);
            match what {
                0 => run.frame(&sample(plain.clone())),
                1 => run.frame(&sample(labelled(plain))),
                2 => run.frame(&sample(vxlan(true, plain))),
                _ => {
                    let entry = counted(&sample(plain.clone()), number, (epoch, epoch));
                    run.drain(&drained(epoch, epoch + 1, vec![entry]));
                    by_kernel += number;
                    epoch += 1;
                }
            }
            by_samples += u64::from(matches!(what, 1 | 2));
        }
        run.finish();
        let (mut exact, mut told) = (0, 0);
        for (event, flow, _) in run.flows() {
            let packets = flow.pkts_toserver + flow.pkts_toclient;
            *if event.counts_samples() { &mut told } else { &mut exact } += packets;
            let beside = event.extra.as_ref().and_then(|extra| extra.uncounted);
            told += beside.map_or(0, |beside| beside.pkts_toserver + beside.pkts_toclient);
        }
        prop_assert_eq!((exact, told), (by_kernel, by_samples));
    }
}

#[test]
fn live_frames_that_the_kernel_takes_for_something_else_are_counted_by_samples() {
    let frame = labelled(&udp(true, b"!labelled"));
    let mut run = Run::with(Echo::default());
    run.frame(&sampled(0, 1, 0, false, frame.clone()));
    assert_eq!(run.shown(), [">!labelled"]);
    assert_eq!(run.engine.take_wishes().count(), 0);
    run.finish();
    let [(event, flow, _)] = run.flows()[..] else {
        panic!("one flow")
    };
    assert_eq!(
        (flow.pkts_toserver, flow.bytes_toserver),
        (1, frame.len() as u64)
    );
    assert_eq!(event.extra.as_ref().unwrap().counted, Some("samples"));
}

#[test]
fn what_the_kernel_counted_and_what_only_samples_tell_never_add_up() {
    let mut run = Run::with(Echo::default());
    let plain = sampled(0, 1, 1, false, udp(true, b"!plain"));
    let labelled = sampled(0, 1, 0, true, labelled(&udp(false, b"!labelled")));
    run.frame(&plain);
    for _ in 0..3 {
        run.frame(&labelled);
    }
    run.drain(&drained(1, 1, vec![counted(&plain, 7, (0, 1))]));
    assert_eq!(run.shown()[..2], [">!plain", "<!labelled"]);
    run.finish();
    let [(event, flow, _)] = run.flows()[..] else {
        panic!("one flow")
    };
    // Nobody takes a sample's packet for one that the kernel counted, or the other way round.
    assert_eq!((flow.pkts_toserver, flow.pkts_toclient), (7, 0));
    assert_eq!((flow.bytes_toserver, flow.bytes_toclient), (700, 0));
    assert!(!event.counts_samples());
    let beside = event.extra.as_ref().unwrap().uncounted.unwrap();
    assert_eq!((beside.pkts_toserver, beside.pkts_toclient), (0, 3));
    assert_eq!(beside.bytes_toclient, 3 * labelled.data.len() as u64);
    assert_eq!(event.extra.as_ref().unwrap().dissected_packets, Some(4));
}

#[test]
fn a_sample_without_a_number_tells_nothing_of_the_next() {
    let mut run = Run::with(Echo::default());
    let first = labelled(&client("A", 101, 501, b"!a").bytes());
    run.frame(&sampled(0, 1, 0, false, first));
    // The first that the kernel counted; more labels may have been between.
    let next = client("A", 105, 501, b"b").bytes();
    run.frame(&sampled(0, 1, 1, false, next));
    assert_eq!(run.shown(), [">!a", ">[Sampling 2]", ">b"]);
}

#[test]
fn merged_samples_within_a_tunnel_count_as_what_they_were_on_the_wire() {
    // VXLAN puts 50 bytes around another Ethernet frame.
    const AROUND: usize = 50;
    let inner = client("A", 101, 501, &[b'!'; 3000]).bytes();
    let merged = vxlan(true, &inner);
    let headers = AROUND + 54;
    let three = 3 * headers as u32 + 3000;
    for (wire_len, expected) in [
        (three, 3 * 54 + 3000),
        // The kernel did not know what to repeat.
        (merged.len() as u32, inner.len() as u64),
    ] {
        let mut run = Run::with(Echo::default());
        let mut frame = sampled(0, 1, 1, false, merged.clone());
        frame.wire_len = wire_len;
        if let Origin::Sample { segments, .. } = &mut frame.origin {
            *segments = 3;
        }
        run.frame(&frame);
        run.drain(&drained(1, 1, vec![counted(&frame, 3, (0, 1))]));
        run.finish();
        let [(_, tunnel, _), (event, flow, _)] = run.flows()[..] else {
            panic!("two flows")
        };
        assert_eq!(tunnel.pkts_toserver, 3);
        assert!(event.counts_samples());
        assert_eq!((flow.pkts_toserver, flow.bytes_toserver), (3, expected));
    }
}

#[test]
fn fragments_that_cross_a_device_twice_count_once_also_behind_labels() {
    let mut run = Run::with(Echo::default());
    let pieces = in_pieces(&udp(true, b"!a datagram of some length"), 16);
    for egress in [true, false] {
        for piece in &pieces {
            run.frame(&sampled(0, 1, 0, egress, labelled(piece)));
        }
    }
    run.finish();
    let [(_, flow, _)] = run.flows()[..] else {
        panic!("one flow")
    };
    assert_eq!(flow.pkts_toserver, pieces.len() as u64);
    let stats = run.engine.stats().kernel;
    // The datagram that is made of them is one, too.
    assert_eq!(stats.crossed_samples, pieces.len() as u64 + 1);
}
