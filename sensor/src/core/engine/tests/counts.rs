//! Live: which counts are the kernel's, and which are those of samples.

use super::live::{counted, drained, sampled};
use super::tunnels::vxlan;
use super::*;

#[test]
fn what_the_kernel_counted_and_what_only_samples_tell_never_add_up() {
    let mut run = Run::with(Echo::default());
    let plain = sampled(0, 1, 1, false, udp(true, b"!plain"));
    let mut labelled = udp(false, b"!labelled").to_vec();
    labelled.splice(12..14, [0x88, 0x47, 0, 1, 0x01, 64]);
    let labelled = sampled(0, 1, 0, true, labelled.into());
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
    let labelled = |seq, payload| {
        let mut frame = client("A", seq, 501, payload).bytes().to_vec();
        frame.splice(12..14, [0x88, 0x47, 0, 1, 0x01, 64]);
        Bytes::from(frame)
    };
    run.frame(&sampled(0, 1, 0, false, labelled(101, b"!a")));
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
