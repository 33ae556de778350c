//! A TCP flow's protocol, its parser, and the reassembly that feeds both.

use bytes::{Buf as _, Bytes};

use super::assembler::{Assembler, Piece};
use super::pending::Pending;
use super::{Io, Outcome};
use crate::core::proto::{
    Gap, Parser, ProbeHint, Progress, Recognised, Recognition, Side, Transport,
};

/// A segment's part in reassembly.
#[derive(Debug)]
pub(crate) struct StreamSegment {
    pub(crate) side: Side,
    /// Sequence number of the first byte of `data`.
    pub(crate) seq: u32,
    pub(crate) data: Bytes,
    /// Bytes behind `data` that were on the wire and not captured: nobody will ever show them.
    pub(crate) cut: u32,
    /// The stream's first sequence number, if it is known.
    pub(crate) start: Option<u32>,
    /// Acknowledgement for the other side.
    pub(crate) ack: Option<u32>,
    /// Sequence number behind the last byte, if this is the last segment.
    pub(crate) fin: Option<u32>,
    pub(crate) reset: bool,
    /// Samples between the last one of this side and this were left out: a hole is no loss.
    pub(crate) skipped: bool,
}

#[derive(Debug)]
pub(crate) struct Stream {
    phase: Phase,
    sides: [Half; 2],
    /// What the sides hold together, as it was last reported to the engine's counter.
    reported: usize,
    /// Protocol before a handover, and its transactions.
    first: Option<u8>,
    transactions: u64,
    /// Gaps that are losses, by side, until the flow asks.
    lost: [bool; 2],
}

#[derive(Debug, Default)]
struct Half {
    assembler: Assembler,
    pending: Pending,
    ended: bool,
}

#[derive(Debug)]
enum Phase {
    Probing(Recognition),
    Parsing(u8, Box<dyn Parser>),
    Over(Recognised),
}

impl Stream {
    pub(crate) fn new(io: &mut Io<'_>) -> Self {
        io.stats.stream.active += 1;
        Self {
            phase: Phase::Probing(io.registry.candidates(Transport::Stream)),
            sides: Default::default(),
            reported: 0,
            first: None,
            transactions: 0,
            lost: [false; 2],
        }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let (recognised, current) = match &self.phase {
            Phase::Probing(_) => (self.first.map_or(Recognised::NotYet, Recognised::As), 0),
            Phase::Parsing(index, parser) => (Recognised::As(*index), parser.transactions()),
            Phase::Over(recognised) => (*recognised, 0),
        };
        Outcome {
            recognised,
            transactions: self.transactions + current,
        }
    }

    /// Whether more transactions may follow on the connection.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(&self.phase, Phase::Parsing(_, parser) if parser.goes_on())
    }

    /// Whether bytes of each side were lost since the last call.
    pub(crate) fn take_losses(&mut self) -> [bool; 2] {
        std::mem::take(&mut self.lost)
    }

    /// Takes a segment; gives the outcome once nothing more is of interest.
    pub(crate) fn on_segment(
        &mut self,
        segment: StreamSegment,
        io: &mut Io<'_>,
    ) -> Option<Outcome> {
        let StreamSegment {
            side,
            seq,
            data,
            cut,
            ..
        } = segment;
        let len = data.len() as u32;
        if let Some(ack) = segment.ack {
            self.sides[side.peer() as usize].assembler.acknowledge(ack);
            self.drain(side.peer(), None, io);
        }
        let assembler = &mut self.sides[side as usize].assembler;
        if let Some(fin) = segment.fin {
            assembler.finish_at(fin);
        }
        if len + cut > 0 && !assembler.is_started() {
            assembler.start(segment.start.unwrap_or(seq));
        }
        if segment.skipped {
            self.pass_over(side, seq, io);
        }
        if len > 0 {
            io.stats.stream.segments += 1;
            let assembler = &mut self.sides[side as usize].assembler;
            if assembler.pass(seq, len) {
                self.feed(side, data, io);
            } else {
                self.place(side, seq, &data, io);
            }
        }
        if cut > 0 {
            self.pass_over(side, seq.wrapping_add(len).wrapping_add(cut), io);
        }
        for side in Side::BOTH {
            if self.sides[side as usize].assembler.is_finished() {
                self.end(side, io);
            }
        }
        if segment.reset {
            self.finish(io);
        } else if self.sides.iter().all(|half| half.assembler.is_finished()) {
            // Flows are remembered for a while after their end, parsers need not be.
            self.over(self.outcome().recognised);
        }
        self.report(io);
        matches!(self.phase, Phase::Over(_)).then(|| self.outcome())
    }

    /// Notes an acknowledgement by `side`; true if it sets bytes of the other side free, so that
    /// [`Self::on_segment`] has to be called even without payload.
    #[inline]
    pub(crate) fn acknowledge(&mut self, side: Side, ack: u32) -> bool {
        let assembler = &mut self.sides[side.peer() as usize].assembler;
        assembler.acknowledge(ack);
        assembler.held_bytes() > 0
    }

    fn place(&mut self, side: Side, seq: u32, data: &Bytes, io: &mut Io<'_>) {
        if matches!(self.phase, Phase::Over(_)) {
            return;
        }
        let room = io.room();
        let assembler = &mut self.sides[side as usize].assembler;
        let placed = assembler.insert(seq, data, io.limits, room);
        let stats = &mut io.stats.stream;
        match (placed.overlap, placed.held) {
            (true, false) => stats.retransmitted += 1,
            (true, true) => stats.overlaps += 1,
            (false, _) => stats.out_of_order += 1,
        }
        if placed.dropped {
            if data.len() > room {
                stats.dropped_memcap += 1;
            } else {
                stats.dropped_stream += 1;
            }
        }
        let force = assembler.is_stuck().then_some(Gap::Limit);
        self.drain(side, force, io);
    }

    /// Waits no longer for bytes before `to`: what is not there was not captured.
    fn pass_over(&mut self, side: Side, to: u32, io: &mut Io<'_>) {
        while let Some(len) = self.sides[side as usize].assembler.skip(to) {
            self.gap(side, len, Gap::Sampling, io);
            self.drain(side, None, io);
        }
    }

    /// Hands on what is in order.
    fn drain(&mut self, side: Side, force: Option<Gap>, io: &mut Io<'_>) {
        while !matches!(self.phase, Phase::Over(_)) {
            match self.sides[side as usize].assembler.take(force) {
                None => break,
                Some(Piece::Data(data)) => self.feed(side, data, io),
                Some(Piece::Gap(len, gap)) => self.gap(side, len, gap, io),
            }
        }
    }

    fn gap(&mut self, side: Side, len: u32, gap: Gap, io: &mut Io<'_>) {
        match gap {
            Gap::Sampling => io.stats.stream.sampling_gaps += 1,
            Gap::Loss | Gap::Limit => {
                io.stats.stream.gaps += 1;
                io.stats.stream.gap_bytes += u64::from(len);
                self.lost[side as usize] |= gap == Gap::Loss;
            }
        }
        let _ = self.sides[side as usize].pending.take();
        match &mut self.phase {
            Phase::Probing(state) => {
                if state.exclude(side) == Recognised::Unknown {
                    self.unknown(io);
                }
            }
            Phase::Parsing(index, parser) => {
                let progress = parser.on_gap(side, u64::from(len), gap, &mut io.context(*index));
                self.settle(side, Bytes::new(), progress, io);
            }
            Phase::Over(_) => {}
        }
    }

    /// Shows bytes in order to probers or the parser.
    fn feed(&mut self, side: Side, data: Bytes, io: &mut Io<'_>) {
        let pending = &mut self.sides[side as usize].pending;
        if pending.len() + data.len() > io.limits.stream_bytes {
            io.stats.stream.overrun += 1;
            self.over(self.outcome().recognised);
            return;
        }
        let bytes = pending.join(data);
        if bytes.len() < pending.wanted {
            pending.keep(bytes);
            return;
        }
        self.show(side, bytes, io);
    }

    fn show(&mut self, side: Side, bytes: Bytes, io: &mut Io<'_>) {
        match &mut self.phase {
            Phase::Over(_) => {}
            Phase::Parsing(index, parser) => {
                let progress = parser.on_data(side, &bytes, &mut io.context(*index));
                self.settle(side, bytes, progress, io);
            }
            Phase::Probing(state) => {
                let hint = ProbeHint {
                    side,
                    originator_port: io.flow.ends[0].1,
                    responder_port: io.flow.ends[1].1,
                    transport: Transport::Stream,
                };
                let mut found = io.registry.probe(state, hint, &bytes);
                if found == Recognised::NotYet && bytes.len() >= io.limits.probe_bytes {
                    found = state.exclude(side);
                }
                self.sides[side as usize].pending.keep(bytes);
                match found {
                    Recognised::NotYet => {}
                    Recognised::Unknown => self.unknown(io),
                    Recognised::As(index) => self.begin(index, io),
                }
            }
        }
    }

    /// Starts the parser of a protocol with what both sides have sent so far.
    fn begin(&mut self, index: u8, io: &mut Io<'_>) {
        let Some(protocol) = io.registry.get(index) else {
            return;
        };
        io.stats.app.recognised[usize::from(index)] += 1;
        self.first.get_or_insert(index);
        self.phase = Phase::Parsing(index, protocol.parser(Transport::Stream));
        for side in Side::BOTH {
            let waiting = self.sides[side as usize].pending.take();
            if !waiting.is_empty() {
                self.show(side, waiting, io);
            }
            if self.sides[side as usize].ended {
                self.sides[side as usize].ended = false;
                self.end(side, io);
            }
        }
    }

    /// Does what a parser's answer to `bytes` asks for.
    fn settle(&mut self, side: Side, mut bytes: Bytes, progress: Progress, io: &mut Io<'_>) {
        let outcome = self.outcome();
        let pending = &mut self.sides[side as usize].pending;
        let (consumed, wanted) = match progress {
            Progress::Consumed(consumed) => (consumed, 0),
            Progress::Need { consumed, bytes } => (consumed, bytes),
            Progress::Done => return self.over(outcome.recognised),
            Progress::Failed => {
                io.stats.app.failed += 1;
                return self.over(outcome.recognised);
            }
            Progress::Handover(consumed) => {
                let rest = bytes.slice(consumed.min(bytes.len())..);
                self.transactions = outcome.transactions;
                self.phase = Phase::Probing(io.registry.candidates(Transport::Stream));
                pending.wanted = 0;
                if !rest.is_empty() {
                    self.show(side, rest, io);
                }
                return;
            }
        };
        // No second handle: the bytes would be copied whenever more are to come.
        bytes.advance(consumed.min(bytes.len()));
        pending.keep(bytes);
        pending.wanted = wanted;
    }

    fn unknown(&mut self, io: &mut Io<'_>) {
        io.stats.app.unknown += 1;
        self.over(self.first.map_or(Recognised::Unknown, Recognised::As));
    }

    /// Ends dissection and frees what it held.
    fn over(&mut self, recognised: Recognised) {
        self.transactions = self.outcome().transactions;
        self.phase = Phase::Over(recognised);
        self.sides = Default::default();
    }

    /// One side has sent its last byte.
    fn end(&mut self, side: Side, io: &mut Io<'_>) {
        let half = &mut self.sides[side as usize];
        if std::mem::replace(&mut half.ended, true) {
            return;
        }
        if let Phase::Parsing(index, parser) = &mut self.phase {
            let rest = half.pending.take();
            parser.on_end(side, &rest, &mut io.context(*index));
        }
    }

    /// Nothing more will come: hands on what waits behind holes.
    pub(crate) fn finish(&mut self, io: &mut Io<'_>) {
        for side in Side::BOTH {
            self.drain(side, Some(Gap::Loss), io);
            let missing = self.sides[side as usize].assembler.missing_at_end();
            if missing > 0 {
                self.gap(side, missing, Gap::Loss, io);
            }
        }
        for side in Side::BOTH {
            self.end(side, io);
        }
        self.over(self.outcome().recognised);
        self.report(io);
    }

    /// Brings the engine's count of held bytes up to date.
    fn report(&mut self, io: &mut Io<'_>) {
        let held: usize = self
            .sides
            .iter()
            .map(|half| half.assembler.held_bytes() + half.pending.len())
            .sum();
        let stats = &mut io.stats.stream;
        stats.held_bytes = (stats.held_bytes + held as u64).saturating_sub(self.reported as u64);
        self.reported = held;
    }
}
