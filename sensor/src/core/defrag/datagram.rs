use bytes::Bytes;
use sensor_ebpf::abi::{FlowKey, key_flags};

use super::{Fragment, Name, Orphan, Owed, Whole, held};
use crate::core::decode::fragmentable;
use crate::core::flow::tunnel::Tunnel;
use crate::core::frame::{Frame, Sample};
use crate::core::time::Timestamp;

/// Longest datagram, RFC 791 section 3.1.
const LONGEST: usize = 65_535;
const V6_HEADER: usize = 40;

/// Why a fragment is not part of its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Cut, empty, of a length that is no multiple of 8, or beyond the datagram's end.
    Malformed,
    TooMany,
}

/// A datagram under reassembly.
#[derive(Debug)]
pub(super) struct Datagram {
    key: FlowKey,
    id: u32,
    serial: u64,
    tunnel: Option<Box<Tunnel>>,
    first: Option<First>,
    /// Offset and bytes, in order and without overlaps.
    pieces: Vec<(usize, Bytes)>,
    /// What the pieces came in, where that is kept.
    frames: Vec<Frame>,
    held_bytes: usize,
    /// Length of what was fragmented, once the last fragment was seen.
    total: Option<usize>,
    owed: Owed,
}

/// What only a datagram's first fragment has.
#[derive(Debug)]
struct First {
    /// Up to what was fragmented.
    header: Bytes,
    /// The flow that it is counted for.
    flow: FlowKey,
    sample: Option<Sample>,
}

impl Datagram {
    pub(super) fn new(key: FlowKey, id: u32, serial: u64, tunnel: Option<&Tunnel>) -> Self {
        Self {
            key,
            id,
            serial,
            tunnel: tunnel.cloned().map(Box::new),
            first: None,
            pieces: Vec::new(),
            frames: Vec::new(),
            held_bytes: 0,
            total: None,
            owed: Owed::default(),
        }
    }

    pub(super) fn is(&self, name: &Name) -> bool {
        self.name() == *name
    }

    pub(super) fn name(&self) -> Name {
        Name {
            key: super::name_key(&self.key),
            id: self.id,
            depth: self.tunnel.as_ref().map_or(0, |tunnel| tunnel.depth()),
        }
    }

    pub(super) const fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn owe(&mut self, time: Timestamp, bytes: u32) {
        self.owed.add(time, bytes);
    }

    /// The counts so far, once it is known whose they are.
    pub(super) fn settle(&mut self) -> Option<(FlowKey, Owed)> {
        let first = self.first.as_ref()?;
        Some((first.flow, std::mem::take(&mut self.owed)))
    }

    /// The counts of a datagram that is given up, if nobody has had them.
    pub(super) fn orphan(self) -> Option<Orphan> {
        (self.owed.packets > 0).then_some(Orphan {
            key: self.key,
            tunnel: self.tunnel,
            owed: self.owed,
        })
    }

    /// Adds a fragment's bytes; true if some had been there before.
    pub(super) fn add(&mut self, of: &Fragment<'_>, limit: usize) -> Result<bool, Refused> {
        let Fragment { packet, data, .. } = *of;
        let headers = &packet.headers;
        let Some(fragment) = headers.fragment else {
            return Err(Refused::Malformed);
        };
        let start = usize::from(fragment.offset);
        let from = fragmentable(packet, data);
        if headers.end > data.len() || from >= headers.end {
            return Err(Refused::Malformed);
        }
        let bytes = &data[from..headers.end];
        let end = start + bytes.len();
        if end > LONGEST || (fragment.more && !bytes.len().is_multiple_of(8)) {
            return Err(Refused::Malformed);
        }
        if self.total.is_some_and(|total| end > total) {
            return Err(Refused::Malformed);
        }
        if start == 0 && self.first.is_none() {
            let header = Bytes::copy_from_slice(&data[headers.ip..from]);
            self.held_bytes += header.len();
            self.first = Some(First {
                header,
                flow: packet.key,
                sample: of.sample,
            });
        }
        let before = (self.pieces.len(), self.total);
        if !fragment.more {
            self.total = self.total.or(Some(end));
        }
        let overlap = self.place(start, bytes, limit)?;
        if (self.pieces.len(), self.total) != before {
            self.keep(of.frames);
        }
        Ok(overlap)
    }

    /// Copies frames: a sample's would hold on to what its neighbours are in.
    fn keep(&mut self, frames: &[Frame]) {
        self.held_bytes += held(frames);
        self.frames.extend(frames.iter().map(|frame| Frame {
            data: Bytes::copy_from_slice(&frame.data),
            ..frame.clone()
        }));
    }

    fn place(&mut self, start: usize, bytes: &[u8], limit: usize) -> Result<bool, Refused> {
        let end = start + bytes.len();
        let mut from = start;
        let mut overlap = false;
        let mut index = 0;
        while from < end {
            while self
                .pieces
                .get(index)
                .is_some_and(|(at, piece)| at + piece.len() <= from)
            {
                index += 1;
            }
            let (to, skip) = match self.pieces.get(index) {
                Some((at, piece)) if *at <= from => (from, at + piece.len()),
                Some((at, piece)) if *at < end => (*at, at + piece.len()),
                _ => (end, end),
            };
            if to > from {
                if self.pieces.len() >= limit {
                    return Err(Refused::TooMany);
                }
                let piece = Bytes::copy_from_slice(&bytes[from - start..to - start]);
                self.held_bytes += piece.len();
                self.pieces.insert(index, (from, piece));
            }
            overlap |= to < end;
            from = skip;
        }
        Ok(overlap)
    }

    pub(super) fn is_complete(&self) -> bool {
        let Some(total) = self.total else {
            return false;
        };
        let mut next = 0;
        self.first.is_some()
            && self.pieces.iter().all(|(at, piece)| {
                let follows = *at == next;
                next = at + piece.len();
                follows
            })
            && next >= total
    }

    /// The datagram as one packet; `None` if it is longer than one may be.
    pub(super) fn assemble(self) -> Option<Whole> {
        let First { header, sample, .. } = self.first?;
        let mut packet = header.to_vec();
        for (_, piece) in &self.pieces {
            packet.extend_from_slice(piece);
        }
        if self.key.flags & key_flags::IPV6 == 0 {
            let length = u16::try_from(packet.len()).ok()?;
            packet.get_mut(2..4)?.copy_from_slice(&length.to_be_bytes());
            packet.get_mut(6..8)?.fill(0);
        } else {
            // The fragment header, the last of what every fragment has, becomes that of an atomic
            // fragment (RFC 6946).
            let length = u16::try_from(packet.len().checked_sub(V6_HEADER)?).ok()?;
            packet.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
            let place = header.len().checked_sub(6)?;
            packet.get_mut(place..place + 2)?.fill(0);
        }
        Some(Whole {
            data: packet.into(),
            sample,
            frames: self.frames,
        })
    }
}
