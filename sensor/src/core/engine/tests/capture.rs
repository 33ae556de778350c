//! Flows of captures: roles, states, ends, counts.

use etherparse::IpFragOffset;

use super::*;
use crate::core::event::{FlowReason, FlowState, TcpState};

#[test]
fn a_connection_from_syn_to_fin() {
    let mut run = Run::new(EngineConfig::default());
    run.segments(&handshake());
    run.segments(&[
        client("A", 101, 501, b"hello"),
        server("A", 501, 106, b"world!"),
        client("FA", 106, 507, b""),
        server("FA", 507, 107, b""),
        client("A", 107, 508, b""),
    ]);
    run.finish();
    let [(event, flow, Some(tcp))] = run.flows()[..] else {
        panic!("one flow")
    };
    assert_eq!(
        (event.src_port, event.dest_port),
        (Some(CLIENT_PORT), Some(80))
    );
    assert_eq!((flow.pkts_toserver, flow.pkts_toclient), (5, 3));
    // Ethernet 14, IPv4 20, TCP 20 bytes each.
    assert_eq!(
        (flow.bytes_toserver, flow.bytes_toclient),
        (5 * 54 + 5, 3 * 54 + 6)
    );
    assert_eq!(
        (flow.state, flow.reason),
        (FlowState::Closed, FlowReason::Shutdown)
    );
    assert_eq!(
        (tcp.state, tcp.tcp_flags_ts.0, tcp.tcp_flags_tc.0),
        (Some(TcpState::Closed), 0x13, 0x13)
    );
    let extra = event.extra.as_ref().unwrap();
    assert_eq!(
        (extra.payload_toserver, extra.payload_toclient),
        (Some(5), Some(6))
    );
    assert_eq!(run.zeek(), [("SF", "ShADdFf".into())]);
}

fn states(segments: &[Seg<'_>]) -> (&'static str, String, FlowState) {
    let mut run = Run::new(EngineConfig::default());
    run.segments(segments);
    run.finish();
    let state = run.flows()[0].1.state;
    let (conn_state, history) = run.zeek().remove(0);
    (conn_state, history, state)
}

#[test]
fn conn_states_as_zeek_names_them() {
    use FlowState::{Closed, Established, New};
    let [syn, syn_ack, ack] = handshake();
    let reset = |state: &'static str, history: &str| (state, history.to_owned(), Closed);
    assert_eq!(states(&[syn]), ("S0", "S".into(), New));
    assert_eq!(
        states(&[syn, syn_ack, ack]),
        ("S1", "ShA".into(), Established)
    );
    assert_eq!(
        states(&[syn, server("RA", 0, 101, b"")]),
        reset("REJ", "Sr")
    );
    assert_eq!(
        states(&[syn, client("R", 101, 0, b"")]),
        reset("RSTOS0", "SR")
    );
    assert_eq!(
        states(&[syn, syn_ack, ack, client("RA", 101, 501, b"")]),
        reset("RSTO", "ShAR")
    );
    assert_eq!(
        states(&[syn, syn_ack, ack, server("RA", 501, 101, b"")]),
        reset("RSTR", "ShAr")
    );
    assert_eq!(
        states(&[syn, client("F", 101, 0, b"")]),
        ("SH", "SF".into(), Established)
    );
    assert_eq!(
        states(&[syn, syn_ack, ack, client("FA", 101, 501, b"")]),
        ("S2", "ShAF".into(), Established)
    );
    assert_eq!(states(&[client("A", 7, 9, b"data")]).0, "OTH");
}

#[test]
fn the_originator_is_found_without_the_first_packet() {
    // A SYN-ACK, or data from a privileged port, is an answer.
    for first in [server("SA", 500, 101, b""), server("A", 501, 101, b"late")] {
        let mut run = Run::new(EngineConfig::default());
        run.segments(&[first, client("A", 101, 501, b"")]);
        run.finish();
        let [(event, flow, _)] = run.flows()[..] else {
            panic!("one flow")
        };
        assert_eq!(
            (event.src_port, event.dest_port),
            (Some(CLIENT_PORT), Some(80))
        );
        assert_eq!((flow.pkts_toserver, flow.pkts_toclient), (1, 1));
        assert!(run.zeek()[0].1.starts_with('^'));
    }
}

#[test]
fn time_outs_depend_on_state_and_run_on_packet_time() {
    let mut run = Run::new(EngineConfig::default());
    run.captured(0, udp(true, b"one-sided"));
    run.captured(29_000, udp(true, b"still"));
    run.advance(START + 58 * SECOND);
    assert!(run.flows().is_empty());
    run.advance(START + 62 * SECOND);
    let [(_, flow, None)] = run.flows()[..] else {
        panic!("one flow")
    };
    assert_eq!(
        (flow.state, flow.reason, flow.age),
        (FlowState::New, FlowReason::Timeout, 29)
    );
    run.captured(70_000, udp(true, b"asked"));
    run.captured(70_001, udp(false, b"answered"));
    run.advance(START + 360 * SECOND);
    assert_eq!(run.flows().len(), 1);
    run.advance(START + 372 * SECOND);
    assert_eq!(run.flows()[1].1.state, FlowState::Established);
    assert_eq!(run.engine.stats().flow.timeouts, 2);
    // A packet just after its flow's time-out begins a new one, whatever the timers' grain.
    run.captured(400_000, udp(true, b"x"));
    run.captured(430_001, udp(true, b"y"));
    assert_eq!(run.flows().len(), 3);
}

#[test]
fn a_closed_flow_ends_sooner_than_an_established_one() {
    let mut run = Run::new(EngineConfig::default());
    run.segments(&handshake());
    run.captured(1_000, client("RA", 101, 501, b"").bytes());
    run.advance(START + 64 * SECOND);
    assert_eq!(run.flows().len(), 1);
}

#[test]
fn a_new_connection_takes_over_addresses_and_ports() {
    let mut run = Run::new(EngineConfig::default());
    run.segments(&handshake());
    // The SYN again is no new connection; another one is.
    run.segments(&[client("S", 100, 0, b"")]);
    assert!(run.flows().is_empty());
    run.segments(&[client("S", 7_000, 0, b"")]);
    let [(first, flow, _)] = run.flows()[..] else {
        panic!("one flow")
    };
    assert_eq!((flow.reason, flow.pkts_toserver), (FlowReason::TcpReuse, 3));
    let first = first.flow_id;
    run.finish();
    let [_, (second, flow, _)] = run.flows()[..] else {
        panic!("two flows")
    };
    assert_eq!((flow.pkts_toserver, flow.state), (1, FlowState::New));
    assert_ne!(first, second.flow_id);
    assert!(second.flow_id.unwrap() < 1 << 53);
    assert_eq!(run.engine.stats().flow.tcp_reuse, 1);
}

#[test]
fn a_full_table_makes_room() {
    let limits = Limits {
        flows: 8,
        ..Limits::default()
    };
    let mut run = Run::new(EngineConfig {
        limits,
        ..EngineConfig::default()
    });
    for port in 0..100_u16 {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(CLIENT, SERVER, 64)
            .udp(10_000 + port, 9)
            .write(&mut frame, b"x")
            .unwrap();
        run.captured(u64::from(port) * 100, frame.into());
    }
    assert_eq!(run.engine.stats().flow.active, 8);
    assert_eq!(run.engine.stats().flow.evicted, 92);
    run.finish();
    let packets: u64 = run
        .flows()
        .iter()
        .map(|(_, flow, _)| flow.pkts_toserver)
        .sum();
    assert_eq!(packets, 100);
    assert!(run.flows()[0].1.emergency);
}

#[test]
fn padding_is_no_payload() {
    let mut run = Run::with(Echo::default());
    run.segments(&handshake());
    let mut frame = client("A", 101, 501, b"").bytes().to_vec();
    frame.extend_from_slice(b"!!!!!!");
    run.captured(5, frame.into());
    run.segments(&[client("A", 101, 501, b"!ok")]);
    assert_eq!(run.shown(), [">!ok"]);
}

/// A UDP datagram in IPv4 fragments of at most `size` bytes.
pub(super) fn fragments(payload: &[u8], size: usize) -> Vec<Bytes> {
    let whole = udp(true, payload);
    let (mut header, rest) = etherparse::Ipv4Header::from_slice(&whole[14..]).unwrap();
    header.identification = 77;
    header.dont_fragment = false;
    rest.chunks(size)
        .enumerate()
        .map(|(index, chunk)| {
            let mut header = header.clone();
            header.fragment_offset = IpFragOffset::try_new((index * size / 8) as u16).unwrap();
            header.more_fragments = (index + 1) * size < rest.len();
            header.set_payload_len(chunk.len()).unwrap();
            let mut frame = whole[..14].to_vec();
            header.write(&mut frame).unwrap();
            frame.extend_from_slice(chunk);
            frame.into()
        })
        .collect()
}

#[test]
fn fragments_are_put_together_in_any_order_and_counted_for_their_flow() {
    let pieces = fragments(b"!a datagram of some length", 16);
    assert_eq!(pieces.len(), 3);
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let mut run = Run::with(Echo::default());
        for index in order {
            run.captured(index as u64, pieces[index].clone());
        }
        assert_eq!(run.shown(), [">!a datagram of some length"]);
        run.finish();
        let [(event, flow, _)] = run.flows()[..] else {
            panic!("one flow")
        };
        assert_eq!(flow.pkts_toserver, 3);
        assert_eq!(
            flow.bytes_toserver,
            pieces.iter().map(|piece| piece.len() as u64).sum::<u64>()
        );
        assert_eq!(
            (event.src_port, event.app_proto),
            (Some(CLIENT_PORT), Some("echo"))
        );
        let stats = run.engine.stats().defrag;
        assert_eq!((stats.reassembled, stats.held_bytes), (1, 0));
    }
}

#[test]
fn fragments_that_never_are_whole_are_counted_without_ports() {
    let mut run = Run::new(EngineConfig::default());
    let pieces = fragments(b"!a datagram of some length", 16);
    run.captured(0, pieces[1].clone());
    run.captured(1, pieces[2].clone());
    run.advance(START + 70 * SECOND);
    run.finish();
    let [(event, flow, _)] = run.flows()[..] else {
        panic!("one flow")
    };
    assert_eq!((event.src_port, flow.pkts_toserver), (Some(0), 2));
    let stats = run.engine.stats().defrag;
    assert_eq!((stats.timeouts, stats.held_bytes), (1, 0));
}

#[test]
fn request_and_reply_of_icmp_are_one_flow() {
    let mut run = Run::new(EngineConfig::default());
    for (src, dst, reply) in [(CLIENT, SERVER, false), (SERVER, CLIENT, true)] {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(src, dst, 64);
        let mut frame = Vec::new();
        if reply {
            builder
                .icmpv4_echo_reply(1, 1)
                .write(&mut frame, b"ping")
                .unwrap();
        } else {
            builder
                .icmpv4_echo_request(1, 1)
                .write(&mut frame, b"ping")
                .unwrap();
        }
        run.captured(0, frame.into());
    }
    run.finish();
    let [(event, flow, _)] = run.flows()[..] else {
        panic!("one flow")
    };
    assert_eq!((flow.pkts_toserver, flow.pkts_toclient), (1, 1));
    assert_eq!((event.icmp_type, event.icmp_code), (Some(8), Some(0)));
}
