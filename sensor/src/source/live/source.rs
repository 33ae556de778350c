//! The records of all rings, merged by kernel time.

use std::{cmp::Ordering, collections::BinaryHeap};

use bytes::Bytes;
use sensor_ebpf::abi::{Direction, SampleHeader};

use super::{Clock, pool::Pool};
use crate::core::frame::{Frame, LinkType, Origin};

/// Bounds of the merger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a frame waits for earlier ones of other CPUs, nanoseconds of kernel time. Has to
    /// cover the time from a program's stamp to the record's submission.
    pub window_ns: u64,
    /// Records that may wait; beyond it the earliest leave before their window is over.
    pub max_records: usize,
    /// Captured bytes that may wait, likewise.
    pub max_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window_ns: 20_000_000,
            max_records: 65_536,
            max_bytes: 32 << 20,
        }
    }
}

/// What has happened to records since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records taken.
    pub records: u64,
    /// Records older than a frame that had been released before they came.
    pub late: u64,
    /// Records released before their window was over, for want of room.
    pub hurried: u64,
}

/// A frame in its turn.
#[derive(Clone, Debug)]
pub struct LiveFrame {
    /// The frame.
    pub frame: Frame,
    /// It is older than one that was handed out before it.
    pub late: bool,
}

/// Merges ring records into one order and turns them into frames.
#[derive(Debug)]
pub struct Source {
    options: Options,
    pool: Pool,
    /// Earliest on top.
    waiting: BinaryHeap<Record>,
    waiting_bytes: usize,
    /// Records pushed so far: keeps the order of records with equal times.
    sequence: u64,
    /// The latest kernel time that was released.
    released_ns: u64,
    stats: Stats,
}

#[derive(Debug)]
struct Record {
    header: SampleHeader,
    sequence: u64,
    data: Bytes,
}

impl Record {
    const fn key(&self) -> (u64, u64) {
        (self.header.time_ns, self.sequence)
    }
}

impl Ord for Record {
    /// Reversed, so that the heap's greatest is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Record {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Record {}

impl Source {
    /// An empty source.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            pool: Pool::default(),
            waiting: BinaryHeap::new(),
            waiting_bytes: 0,
            sequence: 0,
            released_ns: 0,
            stats: Stats::default(),
        }
    }

    /// Takes a record and copies its captured bytes, the only copy on their way.
    pub fn push(&mut self, header: &SampleHeader, bytes: &[u8]) {
        self.stats.records += 1;
        self.sequence += 1;
        self.waiting_bytes += bytes.len();
        self.waiting.push(Record {
            header: *header,
            sequence: self.sequence,
            data: self.pool.copy(bytes),
        });
    }

    /// Hands out every frame that is older than `frontier_ns` by the window or more, earliest
    /// first, and as many more as the bounds ask for.
    ///
    /// `frontier_ns` is the kernel time before which all records have been pushed:
    /// [`crate::bpf::Polled::frontier_ns`].
    pub fn release(&mut self, frontier_ns: u64, clock: &Clock, mut sink: impl FnMut(LiveFrame)) {
        let due_ns = frontier_ns.saturating_sub(self.options.window_ns);
        while let Some(next) = self.waiting.peek() {
            if next.header.time_ns > due_ns {
                if !self.is_over_bounds() {
                    break;
                }
                self.stats.hurried += 1;
            }
            self.release_next(clock, &mut sink);
        }
    }

    /// Hands out everything that waits: for the end of a run.
    pub fn flush(&mut self, clock: &Clock, mut sink: impl FnMut(LiveFrame)) {
        while !self.waiting.is_empty() {
            self.release_next(clock, &mut sink);
        }
    }

    /// Counters since the start.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Records that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn is_over_bounds(&self) -> bool {
        self.waiting.len() > self.options.max_records || self.waiting_bytes > self.options.max_bytes
    }

    fn release_next(&mut self, clock: &Clock, sink: &mut impl FnMut(LiveFrame)) {
        let Some(Record { header, data, .. }) = self.waiting.pop() else {
            return;
        };
        self.waiting_bytes -= data.len();
        let late = header.time_ns < self.released_ns;
        self.stats.late += u64::from(late);
        self.released_ns = self.released_ns.max(header.time_ns);
        sink(LiveFrame {
            frame: frame(&header, data, clock),
            late,
        });
    }
}

fn frame(header: &SampleHeader, data: Bytes, clock: &Clock) -> Frame {
    let captured = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let direction = if header.direction == Direction::Egress as u8 {
        Direction::Egress
    } else {
        Direction::Ingress
    };
    Frame {
        time: clock.wall(header.time_ns),
        link: LinkType::Ethernet,
        origin: Origin::Sample {
            epoch: header.epoch,
            number: header.number,
            segments: header.segments.max(1),
            ifindex: header.ifindex,
            direction,
            vlan: (header.vlan_proto != 0).then_some((header.vlan_proto, header.vlan_tci)),
        },
        wire_len: header.wire_len.max(captured),
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Measurement, *};
    use crate::core::time::Timestamp;

    const MS: u64 = 1_000_000;

    fn clock() -> Clock {
        Clock::from_measurement(Measurement {
            kernel_ns: 0,
            wall_ns: 1_000_000 * MS,
            uncertainty_ns: 0,
        })
    }

    fn header(time_ns: u64) -> SampleHeader {
        SampleHeader {
            time_ns,
            wire_len: 60,
            ..SampleHeader::default()
        }
    }

    fn released(source: &mut Source, frontier_ns: u64) -> Vec<(u64, bool)> {
        let mut out = Vec::new();
        source.release(frontier_ns, &clock(), |live| {
            out.push((live.frame.time.0 / MS - 1_000_000, live.late));
        });
        out
    }

    #[test]
    fn rings_are_merged_within_the_window() {
        let mut source = Source::new(Options::default());
        for time in [5, 7, 9, 4, 6, 30] {
            source.push(&header(time * MS), &[]);
        }
        let order: Vec<_> = released(&mut source, 29 * MS);
        assert_eq!(order, [4, 5, 6, 7, 9].map(|time| (time, false)));
        assert_eq!(source.waiting(), 1);
        assert_eq!(source.stats().late, 0);
    }

    #[test]
    fn a_late_record_is_counted_marked_and_passed_on() {
        let mut source = Source::new(Options::default());
        source.push(&header(10 * MS), &[]);
        assert_eq!(released(&mut source, 40 * MS), [(10, false)]);
        source.push(&header(8 * MS), &[]);
        source.push(&header(10 * MS), &[]);
        assert_eq!(released(&mut source, 41 * MS), [(8, true), (10, false)]);
        assert_eq!(source.stats().late, 1);
    }

    #[test]
    fn equal_times_keep_their_order() {
        let mut source = Source::new(Options::default());
        for byte in 0..100_u8 {
            source.push(&header(MS), &[byte]);
        }
        let mut bytes = Vec::new();
        source.flush(&clock(), |live| bytes.push(live.frame.data[0]));
        assert_eq!(bytes, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn bounds_release_early_and_are_counted() {
        let mut source = Source::new(Options {
            max_records: 2,
            max_bytes: 25,
            ..Options::default()
        });
        for time in [3, 1, 2] {
            source.push(&header(time * MS), &[0; 10]);
        }
        assert_eq!(released(&mut source, 3 * MS), [(1, false)]);
        assert_eq!(source.stats().hurried, 1);
        source.push(&header(4 * MS), &[0; 10]);
        assert_eq!(released(&mut source, 4 * MS), [(2, false)]);
        assert_eq!(source.waiting(), 2);
    }

    #[test]
    fn a_frame_says_what_its_record_said() {
        let mut source = Source::new(Options::default());
        let record = SampleHeader {
            time_ns: 7 * MS,
            epoch: 3,
            number: 12,
            wire_len: 3000,
            ifindex: 9,
            direction: Direction::Egress as u8,
            segments: 2,
            vlan_tci: 0x2005,
            vlan_proto: 0x8100,
            ..SampleHeader::default()
        };
        source.push(&record, b"bytes");
        let mut frames = Vec::new();
        source.flush(&clock(), |live| frames.push(live.frame));
        let [frame] = &frames[..] else {
            panic!("one record gives one frame: {frames:?}");
        };
        assert_eq!(frame.time, Timestamp(1_000_007 * MS));
        assert_eq!((frame.wire_len, &frame.data[..]), (3000, &b"bytes"[..]));
        assert_eq!(
            frame.origin,
            Origin::Sample {
                epoch: 3,
                number: 12,
                segments: 2,
                ifindex: 9,
                direction: Direction::Egress,
                vlan: Some((0x8100, 0x2005)),
            }
        );
    }
}
