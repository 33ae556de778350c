//! The latest frames, for whoever wants to show what an event was made of.

use std::collections::VecDeque;

use super::frame::Frame;

/// A ring of frames with the flows that they belong to, bounded in bytes.
///
/// Frames are kept as they are, without a copy. Live, samples share buffers with their neighbours,
/// which are in the ring as well: little more than what is bounded is held.
#[derive(Debug)]
pub(crate) struct Evidence {
    frames: VecDeque<(u64, Frame)>,
    bytes: usize,
    limit: usize,
}

impl Evidence {
    /// Keeps up to `limit` bytes; with 0 nothing at all.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    /// Notes that a frame has a packet of a flow.
    #[inline]
    pub(crate) fn note(&mut self, flow: u64, frame: &Frame) {
        if self.limit > 0 {
            self.keep(flow, frame);
        }
    }

    #[cold]
    fn keep(&mut self, flow: u64, frame: &Frame) {
        self.frames.push_back((flow, frame.clone()));
        self.bytes += size(frame);
        while self.bytes > self.limit
            && let Some((_, oldest)) = self.frames.pop_front()
        {
            self.bytes -= size(&oldest);
        }
    }

    /// The flow's frames that are still there, the oldest first.
    pub(crate) fn of(&self, flow: u64) -> impl Iterator<Item = &Frame> {
        self.frames
            .iter()
            .filter(move |(of, _)| *of == flow)
            .map(|(_, frame)| frame)
    }
}

/// What a frame takes in the ring.
const fn size(frame: &Frame) -> usize {
    size_of::<(u64, Frame)>() + frame.data.len()
}
