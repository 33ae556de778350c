//! What the front finds in a frame, for the tracker.

use bytes::Bytes;
use sensor_ebpf::abi::FlowKey;

use crate::core::decode::Packet;
use crate::core::defrag::Owed;
use crate::core::flow::tunnel::Tunnel;
use crate::core::frame::{Frame, Origin, Sample};
use crate::core::time::Timestamp;

/// What a frame is made of.
pub(super) enum Found<'a> {
    /// What breaks the rules and is no packet of a flow: a frame that none was found in, or a
    /// fragment.
    Anomaly {
        meta: Meta,
        /// The event's.
        name: &'static str,
        /// Who sent it, if that is known, and within what.
        of: Option<(&'a FlowKey, Option<&'a Tunnel>)>,
    },
    Packet(Part<'a>),
    /// Packets and bytes of a flow, without a packet.
    Count {
        key: FlowKey,
        tunnel: Option<&'a Tunnel>,
        owed: Owed,
    },
}

/// A packet of a flow.
pub(super) struct Part<'a> {
    pub(super) packet: &'a Packet,
    /// What the packet's offsets count into.
    pub(super) data: &'a Bytes,
    /// The frames that it came in, the latest last; none of a tunnel's where evidence is not kept.
    pub(super) frames: &'a [Frame],
    pub(super) meta: Meta,
    pub(super) tunnel: Option<&'a Tunnel>,
    /// It has another packet within, perhaps one that is not followed.
    pub(super) is_tunnel: bool,
    /// A tunnel's header, or what is behind it, breaks the rules: the event's name.
    pub(super) flaw: Option<&'static str>,
    /// A checksum is wrong: the event's name.
    pub(super) wrong_checksum: Option<&'static str>,
}

/// What is known of a packet besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    pub(super) time: Timestamp,
    /// The capture's packet number.
    pub(super) number: Option<u64>,
    /// Of all packets that a merged one stands for.
    pub(super) wire_len: u32,
    pub(super) sample: Option<Sample>,
    /// Samples between this and the last one of its side were left out.
    pub(super) skipped: bool,
    /// Packets and bytes to add to the flow.
    pub(super) counts: (u64, u64),
}

impl Meta {
    pub(super) fn of(frame: &Frame) -> Self {
        let (number, sample, packets) = match frame.origin {
            Origin::Capture { number } => (Some(number), None, 1),
            Origin::Sample {
                epoch,
                number,
                segments,
                direction,
                ..
            } => (
                None,
                Some(Sample {
                    epoch,
                    number,
                    segments,
                    direction,
                    counted_for: None,
                }),
                0,
            ),
        };
        Self {
            time: frame.time,
            number,
            wire_len: frame.wire_len,
            sample,
            skipped: false,
            counts: (packets, packets * u64::from(frame.wire_len)),
        }
    }

    /// Counts the packet here, of which the kernel knows no more than that it is one of `key`. One
    /// that stands for several, which were merged or are to be cut up, counts as those.
    pub(super) fn count_here(&mut self, key: Option<&FlowKey>) {
        let mut packets = 1;
        if let Some(sample) = &mut self.sample {
            sample.counted_for = Some(key.map_or(0, fingerprint));
            packets = u64::from(sample.segments.max(1));
        }
        self.counts = (packets, u64::from(self.wire_len));
    }

    /// The bytes on the wire of what is within a packet from `at` on; the packet ends at `end` by
    /// its own header.
    ///
    /// Of merged packets, whose length on the wire has the headers of all in it, each had `at` bytes
    /// of headers around. Where the kernel did not know all of these to be repeated, it is what is
    /// there at least.
    pub(super) fn wire_len_within(&self, at: usize, end: usize) -> u32 {
        let there = end.min(self.wire_len as usize).saturating_sub(at);
        let there = u32::try_from(there).unwrap_or(u32::MAX);
        let segments = self.sample.map_or(1, |sample| sample.segments.max(1));
        if segments == 1 {
            return there;
        }
        let around = u32::try_from(at).unwrap_or(u32::MAX);
        let around = around.saturating_mul(segments.into());
        self.wire_len.saturating_sub(around).max(there)
    }

    /// Whether the counts of the packet come from elsewhere.
    pub(super) fn is_counted_by_kernel(&self) -> bool {
        self.sample
            .is_some_and(|sample| sample.counted_for.is_none())
    }

    /// Whether the packet counts, but not among those that the kernel has counted for its flow.
    pub(super) fn is_counted_by_samples(&self) -> bool {
        self.sample
            .is_some_and(|sample| sample.counted_for.is_some())
    }
}

/// A number by which keys are told apart.
fn fingerprint(key: &FlowKey) -> u64 {
    let mix = |hash: u64, word: u64| {
        (hash ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    };
    key.words().into_iter().fold(0, mix)
}
