//! Recognition, reassembly and parsers, as captures drive them.

use super::*;

fn opened(protocol: Echo) -> Run {
    let mut run = Run::with(protocol);
    run.segments(&handshake());
    run
}

#[test]
fn bytes_reach_the_parser_in_order_and_once() {
    let mut run = opened(Echo::default());
    run.segments(&[
        client("A", 101, 501, b"!one"),
        client("A", 108, 501, b"three"),
        client("A", 105, 501, b"two"),
        client("A", 101, 501, b"!one"),
        server("A", 501, 113, b"answer"),
    ]);
    assert_eq!(run.shown(), [">!one", ">two", ">three", "<answer"]);
    let stats = run.engine.stats().stream;
    assert_eq!(
        (stats.out_of_order, stats.retransmitted, stats.held_bytes),
        (2, 1, 0)
    );
}

#[test]
fn a_protocol_is_recognised_over_several_segments() {
    let mut run = opened(Echo::default());
    run.segments(&[client("A", 101, 501, b"!"), client("A", 102, 501, b"x")]);
    assert_eq!(run.shown(), [">!x"]);
    run.finish();
    let (event, flow, _) = run.flows()[0];
    assert_eq!((event.app_proto, flow.tx_cnt), (Some("echo"), Some(1)));
}

#[test]
fn what_is_not_consumed_is_shown_again_with_more() {
    let mut run = opened(Echo { record: 4 });
    run.segments(&[
        client("A", 101, 501, b"!a"),
        client("A", 103, 501, b"b"),
        client("A", 104, 501, b"cde"),
        client("FA", 107, 501, b"f"),
    ]);
    // One record a call: the second is cut short by the end.
    assert_eq!(run.shown(), [">!abc", ">[end def]"]);
    assert_eq!(run.engine.stats().stream.held_bytes, 0);
}

#[test]
fn a_parser_goes_with_the_last_byte_of_both_sides() {
    let mut run = opened(Echo::default());
    run.segments(&[
        client("FA", 101, 501, b"!one"),
        server("A", 501, 106, b"two"),
    ]);
    assert_eq!(run.engine.stats().stream.active, 1);
    run.segments(&[server("FA", 504, 106, b""), client("A", 106, 505, b"")]);
    assert_eq!(run.engine.stats().stream.active, 0);
    assert_eq!(run.engine.stats().flow.active, 1, "the flow is remembered");
    run.finish();
    let (event, flow, _) = run.flows()[0];
    assert_eq!((event.app_proto, flow.tx_cnt), (Some("echo"), Some(2)));
}

#[test]
fn an_acknowledged_hole_is_a_loss_and_an_anomaly() {
    let mut run = opened(Echo::default());
    run.segments(&[
        client("A", 101, 501, b"!one"),
        client("A", 110, 501, b"late"),
    ]);
    assert_eq!(run.shown(), [">!one"]);
    run.segments(&[server("A", 501, 114, b"")]);
    assert_eq!(run.shown(), [">!one", ">[Loss 5]", ">late"]);
    let stats = run.engine.stats().stream;
    assert_eq!((stats.gaps, stats.gap_bytes, stats.anomalies), (1, 5, 1));
    run.finish();
    let (_, _, tcp) = run.flows()[0];
    assert!(tcp.unwrap().ts_gap && !tcp.unwrap().tc_gap);
}

#[test]
fn a_parser_that_is_done_costs_nothing_more() {
    let mut run = opened(Echo::default());
    run.segments(&[
        client("A", 101, 501, b"!one$"),
        client("A", 106, 501, b"secret"),
    ]);
    assert_eq!(run.shown(), [">!one$"]);
    assert_eq!(run.engine.stats().stream.active, 0);
    run.finish();
    assert_eq!(run.flows()[0].0.app_proto, Some("echo"));
}

#[test]
fn an_unknown_protocol_is_given_up_with_its_bytes() {
    let mut run = opened(Echo::default());
    run.segments(&[
        client("A", 101, 501, b"what"),
        server("A", 501, 105, b"ever"),
    ]);
    assert_eq!(run.engine.stats().stream.active, 0);
    run.finish();
    assert_eq!(run.flows()[0].0.app_proto, Some("failed"));
    assert_eq!(run.engine.stats().app.unknown, 1);
}

#[test]
fn ends_are_told_once_per_side() {
    let mut run = opened(Echo::default());
    run.segments(&[
        client("A", 101, 501, b"!one"),
        client("FA", 105, 501, b""),
        server("A", 501, 106, b"two"),
        server("FA", 504, 106, b""),
        client("A", 106, 505, b""),
    ]);
    run.finish();
    assert_eq!(run.shown(), [">!one", ">[end ]", "<two", "<[end ]"]);
}

#[test]
fn a_reset_hands_on_what_waits() {
    let mut run = opened(Echo::default());
    run.segments(&[
        client("A", 101, 501, b"!one"),
        client("A", 108, 501, b"waits"),
        server("RA", 501, 105, b""),
    ]);
    assert_eq!(
        run.shown(),
        [">!one", ">[Loss 3]", ">waits", ">[end ]", "<[end ]"]
    );
}

#[test]
fn midstream_pickup_can_be_switched_off() {
    for (midstream, shown) in [(true, 1), (false, 0)] {
        let mut run = Run::new(EngineConfig {
            registry: Registry::new(vec![Box::new(Echo::default())]),
            midstream,
            ..EngineConfig::default()
        });
        run.segments(&[client("A", 9_000, 1, b"!late")]);
        assert_eq!(run.shown().len(), shown);
    }
}

#[test]
fn behind_a_syn_ack_alone_a_stream_is_midstream() {
    for (first, shown) in [(0, 1), (1, 0)] {
        let mut run = Run::new(EngineConfig {
            registry: Registry::new(vec![Box::new(Echo::default())]),
            midstream: false,
            ..EngineConfig::default()
        });
        run.segments(&handshake()[first..]);
        run.segments(&[client("A", 101, 501, b"!data")]);
        assert_eq!(run.shown().len(), shown);
    }
}

#[test]
fn memory_of_all_streams_is_bounded() {
    let limits = Limits {
        reassembly_bytes: 10,
        ..Limits::default()
    };
    let mut run = Run::new(EngineConfig {
        registry: Registry::new(vec![Box::new(Echo::default())]),
        limits,
        ..EngineConfig::default()
    });
    run.segments(&handshake());
    run.segments(&[
        client("A", 101, 501, b"!one"),
        client("A", 110, 501, b"12345678"),
        client("A", 120, 501, b"12345678"),
    ]);
    let stats = run.engine.stats().stream;
    assert_eq!(stats.dropped_memcap, 1);
    assert!(stats.held_bytes <= 10);
    run.finish();
    assert_eq!(run.engine.stats().stream.held_bytes, 0);
}
