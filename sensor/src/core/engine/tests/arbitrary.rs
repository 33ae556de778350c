//! Nothing that comes off a wire makes the engine panic or grow beyond its limits.

use proptest::prelude::*;

use super::*;

fn link() -> impl Strategy<Value = LinkType> {
    prop_oneof![
        Just(LinkType::Ethernet),
        Just(LinkType::RawIp),
        Just(LinkType::LinuxSll),
        Just(LinkType::LinuxSll2),
        Just(LinkType::Loopback),
        Just(LinkType::Ppp),
    ]
}

/// A segment of one of few flows, with sequence numbers close enough to meet.
fn segment() -> impl Strategy<Value = Bytes> {
    (
        any::<bool>(),
        0_u8..64,
        0_u32..300,
        0_u32..300,
        0_usize..80,
        0_u16..4,
    )
        .prop_map(|(from_client, flags, seq, ack, len, port)| {
            let mut frame = Seg {
                from_client,
                flags: "",
                seq,
                ack,
                payload: &b"!".repeat(len),
            }
            .bytes()
            .to_vec();
            frame[14 + 20 + 13] = flags;
            let place = 14 + 20 + if from_client { 0 } else { 2 };
            frame[place..place + 2].copy_from_slice(&(50_000 + port).to_be_bytes());
            frame[14 + 20 + 8..14 + 20 + 12].copy_from_slice(&ack.to_be_bytes());
            frame.into()
        })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        frames in prop::collection::vec(
            (link(), prop::collection::vec(any::<u8>(), 0..120), any::<u32>(), any::<u64>()),
            0..40,
        ),
    ) {
        let mut run = Run::with(Echo::default());
        for (number, (link, data, wire_len, time)) in frames.into_iter().enumerate() {
            let mut frame = captured(number as u64 + 1, time, data.into());
            frame.link = link;
            frame.wire_len = frame.wire_len.max(wire_len);
            run.frame(&frame);
        }
        run.finish();
    }

    #[test]
    fn flows_and_bytes_stay_within_their_limits(
        frames in prop::collection::vec((segment(), 0_u64..200_000), 0..300),
    ) {
        let limits = Limits { flows: 3, reassembly_bytes: 200, stream_bytes: 100, ..Limits::default() };
        let mut run = Run::new(EngineConfig {
            registry: Registry::new(vec![Box::new(Echo { record: 7 })]),
            limits,
            ..EngineConfig::default()
        });
        let total = frames.len() as u64;
        for (frame, ms) in frames {
            run.captured(ms, frame);
            let stats = run.engine.stats();
            prop_assert!(stats.flow.active <= 3);
            // Bytes that wait for a parser are held beyond those that wait for order.
            prop_assert!(stats.stream.held_bytes <= 200 + 3 * 2 * 100);
        }
        run.finish();
        let stats = run.engine.stats();
        prop_assert_eq!((stats.flow.active, stats.stream.active, stats.stream.held_bytes), (0, 0, 0));
        let packets: u64 =
            run.flows().iter().map(|(_, flow, _)| flow.pkts_toserver + flow.pkts_toclient).sum();
        prop_assert_eq!(packets, total);
    }
}
