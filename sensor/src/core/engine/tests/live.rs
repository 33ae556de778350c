//! Live traffic: counts come from drains, state from samples.

use sensor_ebpf::abi::FlowKey;

use super::*;
use crate::core::event::{FlowReason, FlowState};
use crate::core::kernel::KernelFlow;

pub(super) fn sampled(seconds: u64, epoch: u64, number: u64, egress: bool, data: Bytes) -> Frame {
    let direction = if egress {
        Direction::Egress
    } else {
        Direction::Ingress
    };
    let origin = Origin::Sample {
        epoch,
        number,
        segments: 1,
        ifindex: 3,
        direction,
        vlan: None,
    };
    Frame {
        origin,
        ..captured(0, START + seconds * SECOND, data)
    }
}

/// The key that the kernel counts a frame under.
pub(super) fn key(frame: &Frame) -> FlowKey {
    crate::core::decode::packet(frame).unwrap().key
}

/// What the kernel counted of the flow of a frame in a generation.
pub(super) fn counted(frame: &Frame, packets: u64, seconds: (u64, u64)) -> KernelFlow {
    KernelFlow {
        key: key(frame),
        packets,
        bytes: packets * 100,
        first: Timestamp(START + seconds.0 * SECOND),
        last: Timestamp(START + seconds.1 * SECOND),
        tcp_flags: 0x10,
        syn: 0,
        syn_ack: 0,
        fin: 0,
        rst: 0,
        by_cookie: false,
    }
}

pub(super) fn drained(epoch: u64, seconds: u64, flows: Vec<KernelFlow>) -> Drain {
    Drain {
        epoch,
        closed: Timestamp(START + seconds * SECOND),
        flows,
    }
}

#[test]
fn samples_never_count() {
    let mut run = Run::with(Echo::default());
    let asks = sampled(0, 1, 1, false, udp(true, b"!asks"));
    let answers = sampled(0, 1, 1, true, udp(false, b"!answers"));
    run.frame(&asks);
    run.frame(&answers);
    run.drain(&drained(
        1,
        1,
        vec![counted(&answers, 7, (0, 1)), counted(&asks, 5, (0, 1))],
    ));
    run.finish();
    assert_eq!(run.shown()[..2], [">!asks", "<!answers"]);
    let [(event, flow, _)] = run.flows()[..] else {
        panic!("one flow")
    };
    assert_eq!((flow.pkts_toserver, flow.pkts_toclient), (5, 7));
    assert_eq!((flow.bytes_toserver, flow.bytes_toclient), (500, 700));
    assert_eq!(event.extra.as_ref().unwrap().dissected_packets, Some(2));
}

#[test]
fn a_flow_waits_for_the_drain_of_its_generation() {
    let mut run = Run::new(EngineConfig::default());
    let frame = sampled(0, 4, 1, false, udp(true, b"x"));
    run.frame(&frame);
    run.advance(START + 100 * SECOND);
    assert!(run.flows().is_empty(), "its packets are not counted yet");
    run.drain(&drained(4, 100, vec![counted(&frame, 3, (0, 2))]));
    run.advance(START + 102 * SECOND);
    let [(_, flow, _)] = run.flows()[..] else {
        panic!("one flow")
    };
    assert_eq!((flow.pkts_toserver, flow.reason), (3, FlowReason::Timeout));
    assert_eq!(run.engine.stats().kernel.unsampled, 0);
}

#[test]
fn drains_keep_a_flow_alive() {
    let mut run = Run::new(EngineConfig::default());
    let frame = sampled(0, 1, 1, false, udp(true, b"x"));
    run.frame(&frame);
    for epoch in 1..=20 {
        let time = epoch * 10;
        run.drain(&drained(
            epoch,
            time,
            vec![counted(&frame, 2, (time - 9, time - 1))],
        ));
    }
    assert!(run.flows().is_empty());
    run.advance(START + 300 * SECOND);
    let [(_, flow, _)] = run.flows()[..] else {
        panic!("one flow")
    };
    assert_eq!((flow.pkts_toserver, flow.age), (40, 199));
}

#[test]
fn a_flow_that_was_never_sampled_is_one_and_its_syns_tell_who_opened_it() {
    let asks = sampled(0, 1, 1, false, client("S", 1, 0, b"").bytes());
    let answers = sampled(0, 1, 1, true, server("SA", 1, 2, b"").bytes());
    // Whichever entry is the earlier, by a coarse clock.
    for (first, second) in [(0, 1), (1, 0)] {
        let mut run = Run::new(EngineConfig::default());
        let opens = KernelFlow {
            syn: 1,
            fin: 1,
            tcp_flags: 0x13,
            ..counted(&asks, 5, (first, 2))
        };
        let accepts = KernelFlow {
            syn_ack: 1,
            fin: 1,
            tcp_flags: 0x13,
            ..counted(&answers, 4, (second, 2))
        };
        run.drain(&drained(1, 3, vec![accepts, opens]));
        run.finish();
        let [(event, flow, _)] = run.flows()[..] else {
            panic!("one flow")
        };
        assert_eq!(event.dest_port, Some(80));
        assert_eq!((flow.pkts_toserver, flow.pkts_toclient), (5, 4));
        assert_eq!(flow.state, FlowState::Closed);
        assert_eq!(run.zeek()[0].0, "SF");
        assert_eq!(run.engine.stats().kernel.unsampled, 1);
    }
}

#[test]
fn a_hole_between_samples_that_do_not_follow_on_is_no_loss() {
    let mut run = Run::with(Echo::default());
    let segments = [
        (1, client("S", 100, 0, b"")),
        (2, client("A", 101, 501, b"!one")),
        // Number 3 was not sampled.
        (4, client("A", 110, 501, b"four")),
        // Number 5 was, but TCP lost what was between.
        (5, client("A", 120, 501, b"five")),
    ];
    for (number, segment) in segments {
        run.frame(&sampled(0, 1, number, false, segment.bytes()));
    }
    assert_eq!(run.shown(), [">!one", ">[Sampling 5]", ">four"]);
    run.frame(&sampled(0, 1, 1, true, server("A", 501, 124, b"").bytes()));
    assert_eq!(run.shown()[3..], [">[Loss 6]", ">five"]);
    let stats = run.engine.stats().stream;
    assert_eq!(
        (stats.sampling_gaps, stats.gaps, stats.gap_bytes),
        (1, 1, 6)
    );
}

#[test]
fn what_a_sample_cuts_off_is_passed_over_at_once() {
    let mut run = Run::with(Echo::default());
    let body = [b'x'; 5000];
    let mut cut = sampled(0, 1, 2, true, server("A", 501, 105, &body).bytes());
    cut.data = cut.data.slice(..54 + 3);
    if let Origin::Sample { segments, .. } = &mut cut.origin {
        *segments = 4;
    }
    run.frame(&sampled(
        0,
        1,
        1,
        false,
        client("A", 101, 501, b"!ask").bytes(),
    ));
    run.frame(&sampled(0, 1, 1, true, server("A", 501, 105, b"").bytes()));
    run.frame(&cut);
    assert_eq!(run.shown(), [">!ask", "<xxx", "<[Sampling 4997]"]);
    // A retransmission of its end, and what follows.
    let again = server("A", 5400, 105, &body[..101]);
    run.frame(&sampled(0, 1, 6, true, again.bytes()));
    run.frame(&sampled(
        0,
        1,
        7,
        true,
        server("A", 5501, 105, b"next").bytes(),
    ));
    assert_eq!(run.shown()[3..], ["<next"]);
    run.finish();
    let stats = run.engine.stats().stream;
    assert_eq!((stats.sampling_gaps, stats.gaps), (1, 0));
}

#[test]
fn an_end_tells_how_much_was_not_sampled() {
    let mut run = Run::with(Echo::default());
    run.frame(&sampled(
        0,
        1,
        1,
        false,
        client("A", 101, 501, b"!one").bytes(),
    ));
    // Numbers 2 to 8 were not sampled; a segment without payload tells where its side is.
    run.frame(&sampled(0, 1, 9, false, client("A", 301, 501, b"").bytes()));
    assert_eq!(run.shown(), [">!one", ">[Sampling 196]"]);
    run.frame(&sampled(
        0,
        2,
        3,
        false,
        client("FA", 311, 501, b"").bytes(),
    ));
    assert_eq!(run.shown()[2..], [">[Sampling 10]", ">[end ]"]);
    run.finish();
    let stats = run.engine.stats().stream;
    assert_eq!((stats.sampling_gaps, stats.gaps), (2, 0));
}

#[test]
fn a_forwarded_packet_counts_once_per_device() {
    let mut run = Run::new(EngineConfig::default());
    run.engine.set_interface(3, "inside");
    run.engine.set_interface(4, "outside");
    let inside = sampled(0, 1, 1, false, udp(true, b"x"));
    let mut outside = sampled(0, 1, 1, true, udp(true, b"x"));
    if let Origin::Sample { ifindex, .. } = &mut outside.origin {
        *ifindex = 4;
    }
    run.frame(&inside);
    run.frame(&outside);
    run.drain(&drained(
        1,
        1,
        vec![counted(&outside, 9, (0, 1)), counted(&inside, 9, (0, 1))],
    ));
    run.finish();
    let [(first, one, _), (second, other, _)] = run.flows()[..] else {
        panic!("two flows")
    };
    assert_eq!((one.pkts_toserver, other.pkts_toserver), (9, 9));
    assert_eq!(first.in_iface.as_deref(), Some("inside"));
    assert_eq!(second.in_iface.as_deref(), Some("outside"));
    assert_eq!(first.community_id, second.community_id);
    assert_ne!(first.flow_id, second.flow_id);
}

#[test]
fn a_packet_that_crosses_one_device_twice_counts_once() {
    let mut run = Run::with(Echo::default());
    let out = sampled(0, 1, 1, true, udp(true, b"!x"));
    let back = sampled(0, 1, 1, false, udp(true, b"!x"));
    run.frame(&out);
    run.frame(&back);
    run.drain(&drained(
        1,
        1,
        vec![counted(&back, 3, (0, 1)), counted(&out, 3, (0, 1))],
    ));
    run.finish();
    assert_eq!(run.shown()[0], ">!x");
    assert!(!run.shown()[1].contains('!'));
    let [(_, flow, _)] = run.flows()[..] else {
        panic!("one flow")
    };
    assert_eq!(flow.pkts_toserver, 3);
    // Of what the kernel counted, and apart from it.
    let stats = run.engine.stats().kernel;
    assert_eq!((stats.crossed_again, stats.crossed_samples), (3, 1));
}

#[test]
fn a_reused_five_tuple_shares_out_its_generation() {
    let mut run = Run::new(EngineConfig::default());
    let mut last = None;
    let segments = [
        (1, client("S", 100, 0, b"")),
        (4, client("RA", 104, 501, b"")),
        (5, client("S", 9_000, 0, b"")),
        (7, client("A", 9_001, 901, b"")),
    ];
    for (number, segment) in segments {
        let frame = sampled(0, 1, number, false, segment.bytes());
        run.frame(&frame);
        last = Some(frame);
    }
    assert!(
        run.flows().is_empty(),
        "the first connection's counts are to come"
    );
    let entry = KernelFlow {
        syn: 2,
        rst: 1,
        ..counted(&last.unwrap(), 10, (0, 1))
    };
    run.drain(&drained(1, 1, vec![entry]));
    let [(_, flow, _)] = run.flows()[..] else {
        panic!("the first connection's end")
    };
    assert_eq!((flow.reason, flow.pkts_toserver), (FlowReason::TcpReuse, 4));
    assert_eq!(flow.bytes_toserver, 400);
    run.finish();
    let [_, (_, flow, _)] = run.flows()[..] else {
        panic!("two flows")
    };
    assert_eq!((flow.pkts_toserver, flow.bytes_toserver), (6, 600));
}

#[test]
fn connections_through_a_cookie_show_who_opened_them_and_how_they_ended() {
    let asks = sampled(0, 1, 1, false, client("A", 101, 501, b"").bytes());
    let answers = sampled(0, 1, 1, true, server("A", 501, 101, b"").bytes());
    // How each end ended, as (FINs, RSTs) of client and server, and what that makes of it.
    for (client_ends, server_ends, expected) in [
        ((1, 0), (1, 0), "SF"),
        ((0, 1), (0, 0), "RSTO"),
        ((0, 0), (0, 1), "RSTR"),
        ((0, 0), (0, 0), "S1"),
    ] {
        let mut run = Run::new(EngineConfig::default());
        // Ports that do not tell the roles; at the same tick the answer sorts first.
        let mut opens = KernelFlow {
            by_cookie: true,
            fin: client_ends.0,
            rst: client_ends.1,
            ..counted(&asks, 5, (0, 2))
        };
        let mut accepts = KernelFlow {
            fin: server_ends.0,
            rst: server_ends.1,
            ..counted(&answers, 4, (0, 2))
        };
        (opens.key.src_port, opens.key.dst_port) = (40_000, 8080);
        (accepts.key.src_port, accepts.key.dst_port) = (8080, 40_000);
        run.drain(&drained(1, 3, vec![accepts, opens]));
        run.finish();
        let [(event, flow, _)] = run.flows()[..] else {
            panic!("one flow")
        };
        assert_eq!(event.dest_port, Some(8080));
        assert_eq!((flow.pkts_toserver, flow.pkts_toclient), (5, 4));
        assert_eq!(run.zeek()[0].0, expected);
        assert_eq!(event.extra.as_ref().unwrap().handshake, Some("cookie"));
    }
}

#[test]
fn a_sampled_connection_through_a_cookie_was_established() {
    let mut run = Run::new(EngineConfig::default());
    let asks = sampled(0, 1, 1, false, client("A", 101, 501, b"").bytes());
    run.frame(&asks);
    let entry = KernelFlow {
        by_cookie: true,
        ..counted(&asks, 3, (0, 1))
    };
    run.drain(&drained(1, 1, vec![entry]));
    // In later generations the kernel's mark is gone.
    run.drain(&drained(2, 3, vec![counted(&asks, 3, (2, 3))]));
    run.finish();
    let [(event, flow, _)] = run.flows()[..] else {
        panic!("one flow")
    };
    assert_eq!(flow.state, FlowState::Established);
    assert_eq!(run.zeek()[0].0, "S1");
    assert_eq!(event.extra.as_ref().unwrap().handshake, Some("cookie"));
}
