//! Flows within others: found, told apart, and counted on their own.

use super::capture::fragments;
use super::fragments::in_pieces;
use super::live::{counted, drained, sampled};
use super::*;
use sensor_ebpf::sampling::Verdict;

/// The parts as the payload of UDP between two ends of tunnels.
fn in_udp(from_first: bool, port: u16, parts: &[&[u8]]) -> Bytes {
    let (src, dst) = if from_first { (1, 2) } else { (2, 1) };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, src], [10, 0, 0, dst], 64)
        .udp(50_000 + u16::from(src), port)
        .write(&mut frame, &parts.concat())
        .unwrap();
    frame.into()
}

pub(super) fn vxlan(from_first: bool, inner: &[u8]) -> Bytes {
    in_udp(from_first, 4789, &[&[8, 0, 0, 0, 0, 0, 42, 0], inner])
}

fn gre(inner: &[u8]) -> Bytes {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6([0x30; 16], [0x31; 16], 64)
        .write(
            &mut frame,
            47.into(),
            &[&[0, 0, 0x65, 0x58][..], inner].concat(),
        )
        .unwrap();
    frame.into()
}

fn anomalies(run: &Run) -> usize {
    let is = |event: &&Event| matches!(event.body, Body::Anomaly { .. });
    run.events.iter().filter(is).count()
}

#[test]
fn inner_flows_are_flows_of_their_own_and_say_where_they_were_found() {
    let mut run = Run::with(Echo::default());
    let (asks, answers) = (udp(true, b"!asks"), udp(false, b"!answers"));
    run.captured(0, vxlan(true, &asks));
    run.captured(1, vxlan(false, &answers));
    assert_eq!(run.shown(), [">!asks", "<!answers"]);
    run.finish();
    let [(first, one, _), (inner, flow, _), (..)] = run.flows()[..] else {
        panic!("three flows")
    };
    assert_eq!(
        (one.pkts_toserver, one.bytes_toserver),
        (1, 50 + asks.len() as u64)
    );
    assert!(first.tunnel.is_none() && first.pkt_src.is_none());
    // The inner frame's bytes, and none of what is around it.
    assert_eq!((flow.pkts_toserver, flow.pkts_toclient), (1, 1));
    let bytes = (flow.bytes_toserver, flow.bytes_toclient);
    assert_eq!(bytes, (asks.len() as u64, answers.len() as u64));
    let json = serde_json::to_value(inner).unwrap();
    assert_eq!(json["pkt_src"], "vxlan encapsulation");
    assert_eq!(
        json["tunnel"],
        serde_json::json!({
            "src_ip": "10.0.0.1", "src_port": 50_001, "dest_ip": "10.0.0.2", "dest_port": 4789,
            "proto": "UDP", "depth": 1, "pkt_src": "wire/pcap"
        })
    );
    let tunnel = &json["sensor"]["tunnel"];
    assert_eq!(
        (&tunnel["kind"], &tunnel["id"]),
        (&"vxlan".into(), &42.into())
    );
    let outer = serde_json::to_value(first).unwrap();
    assert_eq!(tunnel["community_id"], outer["community_id"]);
    assert_eq!(json["sensor"]["conn_state"], "SF");
    assert!(json["sensor"]["counted"].is_null(), "all packets are there");
}

#[test]
fn a_tunnel_has_no_application_that_could_not_be_recognised() {
    let protocol = |run: &Run, port| {
        let flows = run.flows();
        let mut of_port = flows
            .iter()
            .filter(|(event, ..)| event.dest_port == Some(port));
        of_port.next().and_then(|(event, ..)| event.app_proto)
    };
    let several = usize::from(Limits::default().probe_datagrams);
    let run = |frames: &[Bytes]| {
        let mut run = Run::with(Echo::default());
        for frame in frames {
            run.captured(0, frame.clone());
        }
        run.finish();
        run
    };
    let tunnelled = vec![vxlan(true, &udp(true, b"unknown")); several];
    let other = vec![in_udp(true, 4789, &[b"something else"]); several];
    let only = run(&tunnelled);
    assert_eq!(
        (protocol(&only, 4789), protocol(&only, 53)),
        (None, Some("failed"))
    );
    assert_eq!(only.engine.stats().app.unknown, 1);
    // Nor if something else came first, such as an echo request of GTP's.
    assert_eq!(
        protocol(&run(&[&other[..], &tunnelled].concat()), 4789),
        None
    );
    // What is only on a tunnel's port is like anything else.
    assert_eq!(protocol(&run(&other), 4789), Some("failed"));
}

#[test]
fn the_same_ends_within_a_tunnel_and_outside_are_two_flows() {
    let asks = udp(true, b"!asks");
    let mut run = Run::with(Echo::default());
    run.captured(0, asks.clone());
    run.captured(1, gre(&vxlan(true, &asks)));
    run.captured(2, gre(&asks));
    run.finish();
    let depths: Vec<_> = run
        .flows()
        .iter()
        .filter(|(event, ..)| event.dest_port == Some(53))
        .map(|(event, flow, _)| {
            (
                event.tunnel.as_ref().map(|tunnel| tunnel.depth),
                flow.pkts_toserver,
            )
        })
        .collect();
    assert_eq!(depths, [(None, 1), (Some(2), 1), (Some(1), 1)]);
    let [.., (deepest, ..)] = run.flows()[..4] else {
        panic!("five flows")
    };
    let json = serde_json::to_value(deepest).unwrap();
    // The outermost packet, and the tunnel right around.
    assert_eq!(
        (&json["tunnel"]["proto"], &json["sensor"]["tunnel"]["kind"]),
        (&"GRE".into(), &"vxlan".into())
    );
    let stats = run.engine.stats().decoder;
    assert_eq!((stats.tunnelled.iter().sum::<u64>(), stats.packets), (3, 3));
}

#[test]
fn depth_is_bounded() {
    let mut frame = udp(true, b"!deep");
    for _ in 0..6 {
        frame = gre(&frame);
    }
    let mut run = Run::with(Echo::default());
    run.captured(0, frame);
    assert!(run.shown().is_empty());
    assert_eq!(anomalies(&run), 1);
    assert_eq!(run.engine.stats().decoder.malformed_tunnels, 1);
    run.finish();
    assert_eq!(
        run.flows().len(),
        1 + usize::from(Limits::default().tunnel_depth)
    );
}

#[test]
fn broken_tunnels_are_counted_and_told_of_so_often_a_flow() {
    let mut run = Run::new(EngineConfig::default());
    let mut broken = gre(&udp(true, b"x")).to_vec();
    broken[14 + 40 + 1] = 5;
    for number in 0..40 {
        run.captured(number, broken.clone().into());
    }
    assert_eq!(
        anomalies(&run),
        usize::from(Limits::default().flow_anomalies)
    );
    assert_eq!(run.engine.stats().decoder.malformed_tunnels, 40);
    let Body::Anomaly { anomaly } = &run.events[0].body else {
        panic!("an anomaly")
    };
    assert_eq!(anomaly.event, "decoder.gre.wrong_version");
    assert!(run.events[0].flow_id.is_some());
}

#[test]
fn fragments_are_put_together_within_a_tunnel_and_around_one() {
    let pieces = fragments(b"!a datagram of some length", 16);
    let mut run = Run::with(Echo::default());
    for piece in &pieces {
        run.captured(0, vxlan(true, piece));
    }
    assert_eq!(run.shown(), [">!a datagram of some length"]);
    run.finish();
    let [_, (inner, flow, _)] = run.flows()[..] else {
        panic!("two flows")
    };
    assert!(inner.tunnel.is_some());
    let bytes: usize = pieces.iter().map(Bytes::len).sum();
    assert_eq!((flow.pkts_toserver, flow.bytes_toserver), (3, bytes as u64));

    // The same fragments outside are those of another datagram.
    let mut run = Run::with(Echo::default());
    run.captured(0, pieces[0].clone());
    run.captured(1, vxlan(true, &pieces[1]));
    run.captured(2, vxlan(true, &pieces[2]));
    assert!(run.shown().is_empty());
    run.finish();
    let packets: Vec<_> = run
        .flows()
        .iter()
        .map(|(event, flow, _)| (event.tunnel.is_some(), flow.pkts_toserver))
        .collect();
    assert_eq!(packets, [(false, 1), (false, 2), (true, 2)]);

    // A tunnel's packet that was fragmented itself.
    let whole = vxlan(true, &udp(true, b"!inside a datagram in pieces"));
    let mut run = Run::with(Echo::default());
    for piece in in_pieces(&whole, 48) {
        run.captured(0, piece);
    }
    assert_eq!(run.shown(), [">!inside a datagram in pieces"]);
}

#[test]
fn live_a_tunnel_is_counted_by_the_kernel_and_what_is_within_by_samples() {
    let mut run = Run::with(Echo::default());
    let first = sampled(0, 1, 1, false, vxlan(true, &udp(true, b"!asks")));
    run.frame(&first);
    run.frame(&sampled(0, 1, 9, false, vxlan(true, &udp(true, b"!again"))));
    run.drain(&drained(1, 1, vec![counted(&first, 500, (0, 1))]));
    assert_eq!(run.shown(), [">!asks", ">!again"]);
    run.finish();
    let [(outer, tunnel, _), (inner, flow, _)] = run.flows()[..] else {
        panic!("two flows")
    };
    assert_eq!((tunnel.pkts_toserver, tunnel.bytes_toserver), (500, 50_000));
    assert!(outer.extra.as_ref().unwrap().counted.is_none());
    assert_eq!(flow.pkts_toserver, 2);
    let extra = inner.extra.as_ref().unwrap();
    assert_eq!((extra.counted, extra.sampled), (Some("samples"), true));
    assert_eq!(run.engine.stats().kernel.unsampled, 0);
}

#[test]
fn live_all_of_a_tunnel_is_wanted_while_there_is_something_new_in_it() {
    let mut run = Run::with(Echo::default());
    let first = sampled(0, 1, 1, false, vxlan(true, &udp(true, b"!asks")));
    run.frame(&first);
    let wishes: Vec<_> = run.engine.take_wishes().collect();
    let wish = |verdict| Wish {
        key: crate::core::decode::packet(&first).unwrap().key,
        verdict,
    };
    // Of the tunnel, and never of a flow that the kernel does not know.
    assert_eq!(wishes, [wish(Verdict::More)]);
    let unproductive = Limits::default().unproductive_samples[0];
    let nothing = vxlan(true, &client("A", 101, 501, b"").bytes());
    for number in 0..=u64::from(unproductive) + 1 {
        run.frame(&sampled(0, 1, 2 + number, false, nothing.clone()));
    }
    let wishes: Vec<_> = run.engine.take_wishes().collect();
    assert_eq!(wishes, [wish(Verdict::Default)]);
    run.frame(&sampled(
        0,
        1,
        5000,
        false,
        vxlan(true, &client("S", 9, 0, b"").bytes()),
    ));
    run.frame(&sampled(
        0,
        1,
        5001,
        false,
        vxlan(true, &udp(false, b"!news")),
    ));
    run.frame(&sampled(0, 1, 5002, false, nothing));
    let wishes: Vec<_> = run.engine.take_wishes().collect();
    assert_eq!(wishes, [wish(Verdict::More)]);
}

#[test]
fn live_a_tunnel_is_never_enough_whatever_came_first() {
    let arp = [&[2; 12][..], &[8, 6], &[0; 28]].concat();
    let mut run = Run::with(Echo::default());
    for number in 1..20 {
        run.frame(&sampled(0, 1, number, false, vxlan(true, &arp)));
    }
    let verdicts: Vec<_> = run.engine.take_wishes().map(|wish| wish.verdict).collect();
    assert_eq!(verdicts, [Verdict::More]);
    let stats = run.engine.stats().decoder;
    assert_eq!((stats.tunnelled_non_ip, stats.malformed_tunnels), (19, 0));
}

#[test]
fn live_a_hole_within_a_tunnel_is_a_loss_only_where_the_tunnel_has_none() {
    let segment = |seq, payload| vxlan(true, &client("A", seq, 501, payload).bytes());
    let mut run = Run::with(Echo::default());
    run.frame(&sampled(0, 1, 1, false, segment(101, b"!a")));
    // Nothing of the tunnel was left out: what is missing may still come.
    run.frame(&sampled(0, 1, 2, false, segment(105, b"c")));
    assert_eq!(run.shown(), [">!a"]);
    run.frame(&sampled(0, 1, 3, false, segment(103, b"bb")));
    assert_eq!(run.shown(), [">!a", ">bb", ">c"]);
    run.frame(&sampled(0, 1, 7, false, segment(110, b"d")));
    assert_eq!(run.shown()[3..], [">[Sampling 4]", ">d"]);
    // Another tunnel's numbers say nothing.
    let other = in_udp(
        false,
        4789,
        &[
            &[8, 0, 0, 0, 0, 0, 42, 0],
            &client("A", 120, 501, b"e").bytes(),
        ],
    );
    run.frame(&sampled(0, 1, 8, false, other));
    assert_eq!(run.shown()[5..], [">[Sampling 9]", ">e"]);
}

#[test]
fn a_mirrored_frame_that_was_cut_by_the_switch_has_lost_nothing() {
    let mirrored = |seq, payload: &[u8], len: usize| {
        let inner = client("A", seq, 501, payload).bytes();
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .write(
                &mut frame,
                47.into(),
                &[&[0, 0, 0x88, 0xbe][..], &inner[..len]].concat(),
            )
            .unwrap();
        Bytes::from(frame)
    };
    let mut run = Run::with(Echo::default());
    run.captured(0, mirrored(101, b"!start and more", 14 + 40 + 6));
    run.captured(1, mirrored(116, b"next", 14 + 40 + 4));
    run.finish();
    let (_, flow, _) = run.flows()[1];
    assert_eq!(
        flow.bytes_toserver,
        2 * 54 + 15 + 4,
        "of the frames as they were"
    );
    assert_eq!(run.shown()[0], ">!start");
}

#[test]
fn a_sample_that_is_cut_before_what_is_within_is_counted_and_no_reason_to_ask_for_no_more() {
    let whole = vxlan(true, &udp(true, b"!asks"));
    let mut run = Run::with(Echo::default());
    for number in 1..20 {
        let mut frame = sampled(0, 1, number, false, whole.slice(..14 + 28 + 8 + 6));
        frame.wire_len = whole.len() as u32;
        run.frame(&frame);
    }
    assert_eq!(run.engine.stats().decoder.cut_tunnels, 19);
    assert_eq!(anomalies(&run), 0);
    let verdicts: Vec<_> = run.engine.take_wishes().map(|wish| wish.verdict).collect();
    assert_eq!(verdicts, [Verdict::More]);
}

#[test]
fn each_direction_names_its_own_tunnel() {
    let protocol = Echo::default();
    let mut run = Run::with(protocol);
    run.captured(0, vxlan(true, &udp(true, b"!asks")));
    run.captured(1, vxlan(false, &udp(false, b"!answers")));
    let ends: Vec<_> = run
        .events
        .iter()
        .filter_map(|event| event.tunnel.as_ref())
        .map(|tunnel| (tunnel.src_port, tunnel.dest_port))
        .collect();
    assert_eq!(
        ends,
        [(Some(50_001), Some(4789)), (Some(50_002), Some(4789))]
    );
}
