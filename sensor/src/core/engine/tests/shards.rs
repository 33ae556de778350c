//! Flows spread over several trackers give the events of one engine, in its order.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::capture::fragments;
use super::*;
use crate::core::flow::key::Key;
use crate::core::flow::tunnel::Tunnel;
use crate::source::capture::Reader;

/// No limit is hit: limits are what depends on more than one flow.
fn config() -> EngineConfig {
    let limits = Limits {
        flows: 1 << 24,
        reassembly_bytes: usize::MAX,
        ..Limits::default()
    };
    EngineConfig {
        limits,
        ..EngineConfig::default()
    }
}

/// One engine's work, shared out by flow. Each tracker could run on a thread of its own: all that
/// it is given is its flows' packets and the clock.
struct Shards {
    front: Front,
    trackers: Vec<Tracker>,
    emitted: Emitted,
    input: u64,
    events: Vec<Event>,
}

impl Shards {
    fn new(count: usize) -> Self {
        Self {
            front: Front::new(&config()),
            trackers: (0..count).map(|_| Tracker::new(config())).collect(),
            emitted: Emitted::default(),
            input: 0,
            events: Vec::new(),
        }
    }

    /// Has each tracker do something.
    fn each(&mut self, mut act: impl FnMut(&mut Tracker, &mut Emitter<'_>)) {
        for tracker in &mut self.trackers {
            let mut out = |event| self.events.push(event);
            act(
                tracker,
                &mut Emitter::new(&mut out, &mut self.emitted, self.input),
            );
        }
    }

    fn frame(&mut self, frame: &Frame) {
        self.input += 1;
        let mut ticked = false;
        self.each(|tracker, out| ticked = tracker.tick(frame.time, out));
        let due = self.trackers[0].fragments_due();
        self.find(|front, found| {
            if ticked {
                front.expire(due, &mut |part| found(part));
            }
            front.frame(frame, &mut |part| found(part));
        });
    }

    fn finish(&mut self) {
        self.input += 1;
        self.find(|front, found| front.expire(Timestamp(u64::MAX), &mut |part| found(part)));
        self.each(Tracker::finish_all);
    }

    /// Gives all that the front finds to the trackers.
    fn find(&mut self, find: impl FnOnce(&mut Front, &mut dyn FnMut(Found<'_>))) {
        let Self {
            front,
            trackers,
            emitted,
            input,
            events,
        } = self;
        let mut step = 0;
        find(front, &mut |found| {
            let (key, tunnel) = match &found {
                Found::Packet(part) => (part.packet.key, part.tunnel),
                Found::Count { key, tunnel, .. } => (*key, *tunnel),
                Found::Anomaly { .. } => Default::default(),
            };
            let (key, _) = Key::of(&key, tunnel.map_or(0, Tunnel::depth));
            let shard = trackers[0].table.hash(&key) as usize % trackers.len();
            let mut out = |event| events.push(event);
            let mut out = Emitter::new(&mut out, emitted, *input);
            out.step(step);
            take(&mut trackers[shard], &found, &mut out);
            step += 1;
        });
    }

    /// The events since the last call, in order.
    fn take_events(&mut self) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.events);
        events.sort_by_key(|event| event.order);
        events
    }
}

/// One engine beside several divisions of its work.
struct Comparison {
    one: Run,
    divided: Vec<Shards>,
}

impl Comparison {
    fn new() -> Self {
        Self {
            one: Run::new(config()),
            divided: [1, 2, 4, 7].map(Shards::new).into(),
        }
    }

    fn frame(&mut self, frame: &Frame) {
        self.one.frame(frame);
        for shards in &mut self.divided {
            shards.frame(frame);
        }
    }

    /// How many events there were since the last call; fails where they differ.
    fn compare(&mut self) -> usize {
        let expected = std::mem::take(&mut self.one.events);
        assert!(
            expected.is_sorted_by(|one, next| one.order < next.order),
            "an engine emits in order, and no two events at the same place"
        );
        for shards in &mut self.divided {
            let events = shards.take_events();
            let differs = expected
                .iter()
                .zip(&events)
                .find(|(one, other)| one != other);
            assert!(
                differs.is_none(),
                "{} shards: {differs:?}",
                shards.trackers.len()
            );
            assert_eq!(events.len(), expected.len());
        }
        expected.len()
    }

    fn finish(mut self) -> usize {
        self.one.finish();
        for shards in &mut self.divided {
            shards.finish();
        }
        let events = self.compare();
        let begun = |stats: &Stats| {
            let flow = stats.flow;
            flow.tcp + flow.udp + flow.icmpv4 + flow.icmpv6 + flow.other
        };
        for shards in &self.divided {
            let shared: u64 = shards
                .trackers
                .iter()
                .map(|tracker| begun(tracker.stats()))
                .sum();
            assert_eq!(shared, begun(&self.one.engine.stats()));
        }
        events
    }
}

/// The captures of the golden tests, and public ones where there are some.
fn captures() -> Vec<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let golden = workspace.join("tests/it/golden/captures");
    let mut captures: Vec<_> = std::fs::read_dir(golden)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    captures.sort();
    if let Some(cases) = std::env::var_os("SENSOR_CASES") {
        let cases = workspace.join(cases);
        let index = std::fs::read_to_string(cases.join("INDEX.tsv")).unwrap();
        let names = index
            .lines()
            .skip(1)
            .filter_map(|line| line.split('\t').nth(1));
        captures.extend(names.map(|name| cases.join(name)));
        captures.dedup();
    }
    captures
}

#[test]
fn real_traffic_gives_the_same_events_however_it_is_shared_out() {
    let mut comparison = Comparison::new();
    let (mut start, mut number, mut events) = (START, 0, 0);
    for path in captures() {
        let mut first = None;
        let mut last = start;
        for mut frame in Reader::open(&path)
            .into_iter()
            .flatten()
            .map_while(Result::ok)
        {
            // One capture after the other, as if it were one.
            let first = *first.get_or_insert(frame.time);
            number += 1;
            frame.origin = Origin::Capture { number };
            frame.time = Timestamp(start + frame.time.since(first).min(3600 * SECOND));
            last = last.max(frame.time.0);
            comparison.frame(&frame);
        }
        events += comparison.compare();
        start = last + SECOND;
    }
    events += comparison.finish();
    assert!(events > 50, "{events} events");
}

/// Frames of a few flows, some in pieces, some in tunnels, in any order.
fn frame() -> impl Strategy<Value = Bytes> {
    let segment = (any::<bool>(), 0_u32..40, 0_u32..40, 0_usize..9, 0_usize..5).prop_map(
        |(from_client, seq, ack, len, flags)| {
            let flags = ["S", "SA", "A", "FA", "RA"][flags];
            Seg {
                from_client,
                flags,
                seq,
                ack,
                payload: &b"!12345678"[..len],
            }
            .bytes()
        },
    );
    let piece =
        (0_usize..3).prop_map(|index| fragments(b"!a datagram of some length", 16)[index].clone());
    let datagram = any::<bool>().prop_map(|from_client| udp(from_client, b"!datagram"));
    let plain = prop_oneof![segment, piece, datagram];
    (plain, 0_u8..4, 0_u8..3).prop_map(|(inner, depth, from)| {
        (0..depth.saturating_sub(1)).fold(inner, |inner, _| {
            let mut frame = Vec::new();
            PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4([10, 0, 0, from], [10, 0, 0, 9 - from], 64)
                .udp(50_000, 4789)
                .write(
                    &mut frame,
                    &[&[8, 0, 0, 0, 0, 0, 42, 0], &inner[..]].concat(),
                )
                .unwrap();
            frame.into()
        })
    })
}

proptest! {
    #[test]
    fn made_up_traffic_does_too(
        frames in prop::collection::vec((frame(), 0_u64..40_000), 0..60),
        backwards in any::<bool>(),
    ) {
        let mut comparison = Comparison::new();
        let mut ms = 0;
        for (number, (data, pause)) in frames.into_iter().enumerate() {
            // Now and then a frame is late.
            let late = if backwards && pause % 7 == 0 { 20_000 } else { 0 };
            ms += pause;
            let time = START + (ms + 30_000 - late) * 1_000_000;
            comparison.frame(&captured(number as u64 + 1, time, data));
        }
        comparison.finish();
    }
}
