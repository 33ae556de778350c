//! The latest frames, for whoever wants to show what an event was made of.

use std::collections::VecDeque;

use super::frame::Frame;

/// A ring of frames with the flows that they belong to, bounded in bytes.
///
/// Frames are kept as they are, without a copy. Live, samples share buffers with their neighbours,
/// which are in the ring as well: little more than what is bounded is held. A frame is there once,
/// but for fragments within a tunnel: once for what is around them, and as a copy for their datagram.
#[derive(Debug)]
pub(crate) struct Evidence {
    ring: VecDeque<Kept>,
    /// Those of the current input, the latest first.
    open: Vec<Kept>,
    bytes: usize,
    limit: usize,
}

/// A frame, and the flows that have a packet in it.
#[derive(Debug)]
struct Kept {
    flows: Vec<u64>,
    frame: Frame,
}

impl Evidence {
    /// Keeps up to `limit` bytes; with 0 nothing at all.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            ring: VecDeque::new(),
            open: Vec::new(),
            bytes: 0,
            limit,
        }
    }

    /// Notes that a packet of a flow came in `frames`, the latest last.
    ///
    /// Of one input, the frames of a packet end with those of the packet around it.
    #[inline]
    pub(crate) fn note(&mut self, flow: u64, frames: &[Frame]) {
        if self.limit > 0 {
            self.open(flow, frames);
        }
    }

    #[cold]
    fn open(&mut self, flow: u64, frames: &[Frame]) {
        for (index, frame) in frames.iter().rev().enumerate() {
            if index == self.open.len() {
                self.open.push(Kept {
                    flows: Vec::new(),
                    frame: frame.clone(),
                });
            }
            self.open[index].flows.push(flow);
        }
    }

    /// Keeps what was noted of an input.
    #[inline]
    pub(crate) fn keep(&mut self) {
        if !self.open.is_empty() {
            self.close();
        }
    }

    #[cold]
    fn close(&mut self) {
        while let Some(kept) = self.open.pop() {
            self.bytes += kept.size();
            self.ring.push_back(kept);
        }
        while self.bytes > self.limit
            && let Some(oldest) = self.ring.pop_front()
        {
            self.bytes -= oldest.size();
        }
    }

    /// The flow's frames that are still there, the oldest first.
    pub(crate) fn of(&self, flow: u64) -> impl Iterator<Item = &Frame> {
        let kept = self.ring.iter().filter(|kept| kept.flows.contains(&flow));
        let mut frames: Vec<&Frame> = kept.map(|kept| &kept.frame).collect();
        // Those of fragments come in with the last of their datagram.
        frames.sort_by_key(|frame| frame.time);
        frames.into_iter()
    }
}

impl Kept {
    /// What it takes in the ring.
    const fn size(&self) -> usize {
        size_of::<Self>() + self.flows.len() * size_of::<u64>() + self.frame.data.len()
    }
}
