use std::ops::Range;

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
const FRAGMENT_HEADER: usize = 8;

/// Why a fragment is not part of its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Cut, empty, or beyond the datagram's end.
    Malformed,
    /// Of a length that is no multiple of 8, though more follow.
    Length,
    /// The datagram would be longer than one may be.
    TooLarge,
    TooMany,
    /// All of it lies where others do, in IPv6: the bytes that came first stand.
    Covered,
    /// A part of it lies where another does, in IPv6: the datagram is to be dropped.
    Overlap,
    /// It says otherwise than another where the datagram ends, in IPv6: the same.
    Contradiction,
    /// Its header's checksum is wrong, and that is not to be suffered.
    Checksum,
}

impl Refused {
    /// The event's name, in Suricata's words where it has any.
    pub(super) const fn name(self, is_v6: bool) -> Option<&'static str> {
        match (self, is_v6) {
            (Self::TooLarge, false) => Some("decoder.ipv4.frag_pkt_too_large"),
            (Self::TooLarge, true) => Some("decoder.ipv6.frag_pkt_too_large"),
            (Self::Length | Self::Contradiction, true) => Some("decoder.ipv6.frag_invalid_length"),
            (Self::Covered | Self::Overlap, _) => Some("decoder.ipv6.frag_overlap"),
            _ => None,
        }
    }
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
    /// Where the pieces of IPv6 lie that Linux holds as one: only what came last of all, by its place,
    /// grows by what follows it (inet_frag_queue_insert).
    runs: Vec<Range<usize>>,
    /// What the pieces came in, where that is kept.
    frames: Vec<Frame>,
    held_bytes: usize,
    /// That a rule is broken was told.
    pub(super) is_told: bool,
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
            runs: Vec::new(),
            frames: Vec::new(),
            is_told: false,
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

    const fn is_v6(&self) -> bool {
        self.key.flags & key_flags::IPV6 != 0
    }

    /// Fragments that are held.
    pub(super) const fn fragments(&self) -> usize {
        self.pieces.len()
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
        if from == headers.end && headers.end <= data.len() && self.is_v6() {
            // Linux drops the datagram for a fragment of nothing (ip6_frag_queue).
            return Err(Refused::Contradiction);
        }
        if headers.end > data.len() || from >= headers.end {
            return Err(Refused::Malformed);
        }
        let bytes = &data[from..headers.end];
        let end = start + bytes.len();
        // RFC 791 section 3.1 limits the whole packet, RFC 8200 section 4.5 what is behind the IPv6
        // header, without the fragment header.
        let headers_len = from - headers.ip;
        let counted = if self.is_v6() {
            headers_len.saturating_sub(V6_HEADER + FRAGMENT_HEADER)
        } else {
            headers_len
        };
        if counted + end > LONGEST {
            return Err(Refused::TooLarge);
        }
        if fragment.more && !bytes.len().is_multiple_of(8) {
            return Err(Refused::Length);
        }
        if self.total.is_some_and(|total| end > total) && !self.is_v6() {
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
        if self.is_v6() && self.contradicts(end, fragment.more) {
            return Err(Refused::Contradiction);
        }
        let before = (self.pieces.len(), self.total);
        if !fragment.more {
            self.total = self.total.or(Some(end));
        }
        if self.is_v6() && self.is_taken(start, end) {
            // RFC 8200 section 4.5 lets a duplicate be dropped alone. Linux takes any fragment for one
            // that lies within what is there (inet_frag_queue_insert): who dropped the datagram for
            // it would miss what is received.
            return if self.has(start, bytes) {
                Ok(true)
            } else if self.covers(start, end) {
                Err(Refused::Covered)
            } else {
                Err(Refused::Overlap)
            };
        }
        let overlap = self.place(start, bytes, limit)?;
        if self.is_v6() {
            self.extend_runs(start..end);
        }
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

    /// Whether there is a piece in this place, or a part of one.
    fn is_taken(&self, start: usize, end: usize) -> bool {
        let overlaps = |(at, piece): &(usize, Bytes)| *at < end && start < at + piece.len();
        self.pieces.iter().any(overlaps)
    }

    fn has(&self, start: usize, bytes: &[u8]) -> bool {
        let is_same = |(at, piece): &(usize, Bytes)| *at == start && *piece == bytes;
        self.pieces.iter().any(is_same)
    }

    /// Whether this place lies within one run.
    fn covers(&self, start: usize, end: usize) -> bool {
        let has = |run: &Range<usize>| run.start <= start && end <= run.end;
        self.runs.iter().any(has)
    }

    fn extend_runs(&mut self, piece: Range<usize>) {
        match self.runs.iter_mut().max_by_key(|run| run.end) {
            Some(last) if last.end == piece.start => last.end = piece.end,
            _ => self.runs.push(piece),
        }
    }

    /// Whether a fragment that ends here says otherwise than what is known of the datagram's end.
    fn contradicts(&self, end: usize, more: bool) -> bool {
        if let Some(total) = self.total {
            return end > total || (!more && end != total);
        }
        let held = self.pieces.last().map_or(0, |(at, piece)| at + piece.len());
        !more && end < held
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
        let is_v6 = self.is_v6();
        let First { header, sample, .. } = self.first?;
        let mut packet = header.to_vec();
        for (_, piece) in &self.pieces {
            packet.extend_from_slice(piece);
        }
        if !is_v6 {
            let length = u16::try_from(packet.len()).ok()?;
            packet.get_mut(2..4)?.copy_from_slice(&length.to_be_bytes());
            packet.get_mut(6..8)?.fill(0);
        } else {
            // The fragment header, the last of what every fragment has, becomes that of an atomic
            // fragment (RFC 6946).
            // With that header the longest datagrams are longer than the length can tell: they reach to
            // the end of what is there.
            let length = u16::try_from(packet.len().checked_sub(V6_HEADER)?).unwrap_or(0);
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
