//! One side of a TCP stream put in order.
//!
//! Bytes that come in order pass through as slices of their frame. Bytes that have to wait are
//! copied: a slice would keep its frame's whole buffer alive, and the limits would not hold. Where
//! segments overlap, the bytes that came first stand.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::core::flow::tcp::after;
use crate::core::limits::Limits;
use crate::core::proto::Gap;

/// A piece of a stream, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Bytes),
    /// So many bytes are missing.
    Gap(u32, Gap),
}

/// What became of a segment's payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Some bytes had been there before.
    pub(crate) overlap: bool,
    /// Some bytes wait for others.
    pub(crate) held: bool,
    /// Some bytes found no room.
    pub(crate) dropped: bool,
}

#[derive(Debug)]
struct Held {
    seq: u32,
    data: Bytes,
}

impl Held {
    fn end(&self) -> u32 {
        self.seq.wrapping_add(self.data.len() as u32)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// Sequence number of the next byte in order; `None` before the first segment.
    next: Option<u32>,
    /// Sequence number behind the last byte, once a FIN was seen.
    fin: Option<u32>,
    /// The highest sequence number that the other end acknowledged.
    acked: Option<u32>,
    /// Waiting bytes in order, without overlaps.
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Bytes were dropped for want of room: holes are no loss.
    dropped: bool,
}

/// Bytes further ahead than any window allows (RFC 7323 section 2.3) are no part of the stream.
const FARTHEST: u32 = 1 << 30;

impl Assembler {
    pub(crate) const fn is_started(&self) -> bool {
        self.next.is_some()
    }

    /// Sets where the stream starts.
    pub(crate) const fn start(&mut self, seq: u32) {
        self.next = Some(seq);
    }

    pub(crate) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Notes that the stream ends before `seq`.
    pub(crate) fn finish_at(&mut self, seq: u32) {
        self.fin.get_or_insert(seq);
    }

    /// Whether all bytes up to the FIN have been taken.
    pub(crate) fn is_finished(&self) -> bool {
        self.fin
            .is_some_and(|fin| self.next.is_some_and(|next| !after(fin, next)))
    }

    /// Notes that the other end has received everything before `ack`.
    pub(crate) fn acknowledge(&mut self, ack: u32) {
        if self.acked.is_none_or(|acked| after(ack, acked)) {
            self.acked = Some(ack);
        }
    }

    /// Whether a segment that starts at `seq` can be handed on without [`Self::insert`].
    #[inline]
    pub(crate) fn pass(&mut self, seq: u32, len: u32) -> bool {
        if self.held.is_empty() && self.next == Some(seq) {
            self.next = Some(seq.wrapping_add(len));
            return true;
        }
        false
    }

    /// Puts a segment's payload where it belongs; take it out again with [`Self::take`]. `room`
    /// is what all streams together may still hold.
    pub(crate) fn insert(
        &mut self,
        seq: u32,
        data: &Bytes,
        limits: &Limits,
        room: usize,
    ) -> Placed {
        let mut placed = Placed::default();
        let next = *self.next.get_or_insert(seq);
        let end = seq.wrapping_add(data.len() as u32);
        if !after(end, next) {
            placed.overlap = true;
            return placed;
        }
        let mut from = seq;
        if after(next, seq) {
            placed.overlap = true;
            from = next;
        }
        if from.wrapping_sub(next) > FARTHEST {
            placed.dropped = true;
            return placed;
        }
        // Where waiting bytes lie, these stand; what lies between them is new.
        let mut index = 0;
        while after(end, from) {
            while self
                .held
                .get(index)
                .is_some_and(|held| !after(held.end(), from))
            {
                index += 1;
            }
            let (to, skip) = match self.held.get(index) {
                Some(held) if !after(held.seq, from) => (from, Some(held.end())),
                Some(held) if after(end, held.seq) => (held.seq, Some(held.end())),
                _ => (end, None),
            };
            if after(to, from) {
                let piece =
                    data.slice(from.wrapping_sub(seq) as usize..to.wrapping_sub(seq) as usize);
                if self.hold(index, from, piece, next, limits, room) {
                    placed.held = true;
                    index += 1;
                } else {
                    placed.dropped = true;
                }
            }
            placed.overlap |= skip.is_some();
            let Some(skip) = skip else { break };
            from = skip;
        }
        self.dropped |= placed.dropped;
        placed
    }

    fn hold(
        &mut self,
        index: usize,
        seq: u32,
        piece: Bytes,
        next: u32,
        limits: &Limits,
        room: usize,
    ) -> bool {
        // What is next in order is taken out at once and needs no room.
        let at_once = seq == next;
        if !at_once
            && (self.held_bytes + piece.len() > limits.stream_bytes
                || self.held.len() >= limits.stream_segments
                || piece.len() > room)
        {
            return false;
        }
        let data = if at_once {
            piece
        } else {
            Bytes::copy_from_slice(&piece)
        };
        self.held_bytes += data.len();
        self.held.insert(index, Held { seq, data });
        true
    }

    /// Takes out the next piece in order. A hole is passed over as `Gap` once it is known that
    /// nobody will send its bytes again: the receiver has them, or `force` says why.
    pub(crate) fn take(&mut self, force: Option<Gap>) -> Option<Piece> {
        let next = self.next?;
        let first = self.held.front()?;
        if first.seq == next {
            let held = self.held.pop_front()?;
            self.held_bytes -= held.data.len();
            self.next = Some(held.end());
            return Some(Piece::Data(held.data));
        }
        let acked = self.acked.is_some_and(|acked| !after(first.seq, acked));
        let loss = if self.dropped { Gap::Limit } else { Gap::Loss };
        let gap = force.or_else(|| acked.then_some(loss))?;
        let len = first.seq.wrapping_sub(next);
        self.next = Some(first.seq);
        self.dropped = false;
        Some(Piece::Gap(len, gap))
    }

    /// Passes over the first hole before `to`, and says how long it is. The bytes behind it are
    /// there for [`Self::take`].
    pub(crate) fn skip(&mut self, to: u32) -> Option<u32> {
        let next = self.next?;
        let end = match self.held.front() {
            Some(first) if after(to, first.seq) => first.seq,
            _ => to,
        };
        let len = end.wrapping_sub(next);
        (after(end, next) && len <= FARTHEST).then(|| {
            self.next = Some(end);
            len
        })
    }

    /// Whether a segment that does not follow on had to be given up for want of room, so that the
    /// stream should move on rather than wait.
    pub(crate) fn is_stuck(&self) -> bool {
        self.dropped && !self.held.is_empty()
    }

    /// Bytes that the other end has acknowledged behind everything seen: lost at the end.
    pub(crate) fn missing_at_end(&self) -> u32 {
        let (Some(next), Some(acked)) = (self.next, self.acked) else {
            return 0;
        };
        let last = self
            .fin
            .map_or(acked, |fin| if after(acked, fin) { fin } else { acked });
        if self.held.is_empty() && after(last, next) {
            last.wrapping_sub(next)
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests;
