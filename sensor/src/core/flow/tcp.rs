//! What a connection's TCP headers tell: its state as Suricata names it, each end's state as Zeek
//! does, and what has been sent and acknowledged.

use super::history::History;
use crate::core::event::TcpState;
use crate::core::kernel::KernelFlow;
use crate::core::proto::Side;

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// Compares sequence numbers (RFC 9293 section 3.4): whether `a` is after `b`.
#[inline]
pub(crate) const fn after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

/// A segment, without its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// Payload bytes on the wire.
    pub(crate) len: u32,
}

impl Segment {
    pub(crate) const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// A SYN that opens a connection.
    pub(crate) const fn opens(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// Sequence number after the segment.
    const fn end(&self) -> u32 {
        let controls = (self.flags & SYN != 0) as u32 + (self.flags & FIN != 0) as u32;
        self.seq.wrapping_add(self.len).wrapping_add(controls)
    }
}

/// Zeek's state of one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    #[default]
    Inactive,
    SynSent,
    SynAckSent,
    /// Has sent without a handshake.
    Partial,
    Established,
    Closed,
    Reset,
}

/// What is known of one end's sending.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sender {
    pub(crate) end: End,
    /// OR of the flags.
    pub(crate) flags: u8,
    /// The fields below hold once a segment was seen.
    active: bool,
    syn_seen: bool,
    /// Sequence number of the first byte of payload.
    pub(crate) start: u32,
    /// The highest sequence number sent.
    pub(crate) next: u32,
    /// Sequence numbers of the last SYN, FIN and RST, so that repeats are told from new ones.
    syn: u32,
    fin: u32,
    rst: u32,
}

impl Sender {
    /// Where the stream starts, if its SYN was seen.
    pub(crate) fn start_if_known(&self) -> Option<u32> {
        self.syn_seen.then_some(self.start)
    }

    /// Payload bytes sent, by sequence numbers.
    pub(crate) const fn size(&self) -> u32 {
        if !self.active {
            return 0;
        }
        let fin = matches!(self.end, End::Closed) && self.flags & FIN != 0;
        self.next
            .wrapping_sub(self.start)
            .saturating_sub(fin as u32)
    }
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tcp {
    pub(crate) senders: [Sender; 2],
    pub(crate) state: TcpState,
    /// Bytes were lost on the way to the capture, by sender.
    pub(crate) gap: [bool; 2],
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            senders: [Sender::default(); 2],
            state: TcpState::None,
            gap: [false; 2],
        }
    }
}

impl Tcp {
    /// Whether a SYN was seen, so that the connection's start is known.
    pub(crate) const fn has_start(&self) -> bool {
        self.senders[0].syn_seen || self.senders[1].syn_seen
    }

    /// Whether the originator's SYN was seen: behind a SYN-ACK alone a stream is midstream.
    pub(crate) const fn has_opening(&self) -> bool {
        self.senders[Side::Originator as usize].syn_seen
    }

    /// Whether this SYN, seen on a connection that is not new any more, starts another one.
    pub(crate) const fn is_reused_by(&self, side: Side, segment: &Segment) -> bool {
        let sender = &self.senders[side as usize];
        segment.opens()
            && !matches!(
                self.state,
                TcpState::None | TcpState::SynSent | TcpState::SynRecv
            )
            && !(sender.syn_seen && sender.syn == segment.seq)
    }

    /// Takes a segment of `side` into account; true if it is the first and not the connection's
    /// start.
    pub(crate) fn update(&mut self, side: Side, segment: &Segment, history: &mut History) -> bool {
        let midstream = matches!(self.state, TcpState::None) && !segment.has(SYN);
        self.note(side, segment, history);
        if self.track(side, segment) {
            history.logarithmic(side, b'T');
        }
        self.update_ends(side, segment);
        self.update_state(side, segment);
        midstream
    }

    fn note(&mut self, side: Side, segment: &Segment, history: &mut History) {
        let sender = &mut self.senders[side as usize];
        let controls = segment.flags & (SYN | FIN | RST);
        let first = sender.flags & controls != controls;
        sender.flags |= segment.flags;
        match controls {
            0 => {}
            SYN => {
                if first || sender.syn != segment.seq {
                    history.push(side, if segment.has(ACK) { b'H' } else { b'S' });
                }
                sender.syn = segment.seq;
            }
            FIN => {
                if first || sender.fin != segment.end() {
                    // The letter of the payload goes before that of the FIN behind it.
                    if segment.len > 0 {
                        history.once(side, b'D');
                    }
                    history.push(side, b'F');
                }
                sender.fin = segment.end();
            }
            RST => {
                if first || sender.rst != segment.seq {
                    history.push(side, b'R');
                }
                sender.rst = segment.seq;
            }
            _ => history.once(side, if segment.has(SYN) { b'Q' } else { b'I' }),
        }
        if segment.len > 0 {
            history.once(side, b'D');
        } else if controls == 0 && segment.has(ACK) {
            history.once(side, b'A');
        }
        if segment.window == 0 && controls & (RST | SYN) == 0 {
            history.logarithmic(side, b'W');
        }
    }

    /// Follows sequence numbers; true if the payload had all been sent before.
    fn track(&mut self, side: Side, segment: &Segment) -> bool {
        let sender = &mut self.senders[side as usize];
        if segment.has(RST) && sender.active {
            return false;
        }
        let syn = segment.has(SYN);
        if !sender.active || (syn && sender.size() == 0) {
            sender.active = true;
            sender.syn_seen |= syn;
            sender.start = segment.seq.wrapping_add(syn.into());
            sender.next = segment.end();
            return false;
        }
        let new = after(segment.end(), sender.next);
        if new {
            sender.next = segment.end();
        }
        // A keep-alive repeats the last byte or none (RFC 9293 section 3.8.4).
        segment.len > 1 && !new
    }

    fn update_ends(&mut self, side: Side, segment: &Segment) {
        let peer = self.senders[side.peer() as usize].end;
        let end = self.senders[side as usize].end;
        let mut new_peer = peer;
        let new = if segment.has(RST) {
            End::Reset
        } else if segment.has(SYN) {
            match (end, segment.has(ACK)) {
                (End::Inactive, false) => End::SynSent,
                (End::Inactive | End::SynSent, true) if peer == End::SynSent => {
                    new_peer = End::Established;
                    End::Established
                }
                (End::Inactive, true) => End::SynAckSent,
                _ => end,
            }
        } else if segment.has(FIN) {
            if end == End::Reset { end } else { End::Closed }
        } else {
            match end {
                End::Inactive => {
                    if peer == End::SynAckSent {
                        new_peer = End::Established;
                        End::Established
                    } else {
                        End::Partial
                    }
                }
                End::SynSent | End::SynAckSent if peer != End::Inactive => End::Established,
                _ => end,
            }
        };
        self.senders[side as usize].end = new;
        self.senders[side.peer() as usize].end = new_peer;
    }

    /// The walk through RFC 9293 figure 5 as one on the path sees it, from the responder's end.
    fn update_state(&mut self, side: Side, segment: &Segment) {
        use TcpState::{
            CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, None, SynRecv,
            SynSent, TimeWait,
        };
        let from_originator = side == Side::Originator;
        let fin = segment.has(FIN);
        let ack = segment.has(ACK);
        if segment.has(RST) {
            self.state = Closed;
            return;
        }
        self.state = match self.state {
            None if segment.has(SYN | ACK) => SynRecv,
            None if segment.has(SYN) => SynSent,
            SynSent if segment.has(SYN | ACK) && !from_originator => SynRecv,
            SynSent if segment.has(SYN) || from_originator && !fin => SynSent,
            SynRecv if segment.has(SYN) || !from_originator && !fin => SynRecv,
            None | SynSent | SynRecv | Established => match (fin, from_originator) {
                (false, _) => Established,
                (true, true) => CloseWait,
                (true, false) => FinWait1,
            },
            CloseWait if fin && !from_originator => LastAck,
            LastAck if ack && from_originator && self.acknowledges_fin(side, segment) => Closed,
            FinWait1 if from_originator => match (fin, self.acknowledges_fin(side, segment)) {
                (true, true) => TimeWait,
                (true, false) => Closing,
                (false, true) => FinWait2,
                (false, false) => FinWait1,
            },
            FinWait2 if fin && from_originator => TimeWait,
            Closing if from_originator && self.acknowledges_fin(side, segment) => TimeWait,
            TimeWait if ack && !fin => Closed,
            state => state,
        };
    }

    /// Whether the segment of `side` acknowledges the FIN of the other.
    const fn acknowledges_fin(&self, side: Side, segment: &Segment) -> bool {
        let peer = &self.senders[side.peer() as usize];
        segment.has(ACK) && peer.flags & FIN != 0 && !after(peer.fin, segment.ack)
    }

    /// Moves on by what the kernel counted of `side`, where no sample has shown it.
    pub(crate) fn conclude(&mut self, side: Side, counted: &KernelFlow) {
        if counted.key.protocol != 6 {
            return;
        }
        let sender = &mut self.senders[side as usize];
        sender.flags |= counted.tcp_flags;
        if counted.rst > 0 {
            sender.end = End::Reset;
        } else if counted.fin > 0 && sender.end != End::Reset {
            sender.end = End::Closed;
        } else if sender.end == End::Inactive {
            sender.end = match (counted.syn > 0, counted.syn_ack > 0) {
                (true, _) => End::SynSent,
                (false, true) => End::SynAckSent,
                (false, false) => End::Partial,
            };
        }
        let [originator, responder] = &mut self.senders;
        if originator.end == End::SynSent && matches!(responder.end, End::SynAckSent | End::Closed)
        {
            originator.end = End::Established;
        }
        if responder.end == End::SynAckSent && originator.end != End::Inactive {
            responder.end = End::Established;
        }
        let ends = (originator.end, responder.end);
        let closed =
            matches!(ends, (End::Reset, _) | (_, End::Reset)) || ends == (End::Closed, End::Closed);
        self.state = match self.state {
            _ if closed => TcpState::Closed,
            TcpState::None | TcpState::SynSent | TcpState::SynRecv => match ends {
                (End::SynSent, _) => TcpState::SynSent,
                (End::Inactive, End::SynAckSent) => TcpState::SynRecv,
                _ => TcpState::Established,
            },
            state => state,
        };
    }

    /// Notes a handshake that neither end's packets show.
    pub(crate) fn establish(&mut self) {
        for sender in &mut self.senders {
            if matches!(sender.end, End::Inactive | End::Partial) {
                sender.end = End::Established;
            }
        }
    }

    /// Turns the roles of the ends round.
    pub(crate) const fn flip(&mut self) {
        self.senders.swap(0, 1);
        self.gap.swap(0, 1);
    }

    /// Zeek's `conn_state`.
    pub(crate) fn conn_state(&self, history: &History) -> &'static str {
        let [orig, resp] = &self.senders;
        let quiet = |end: End| matches!(end, End::Inactive | End::Partial);
        match (orig.end, resp.end) {
            (orig_end, End::Reset) => match orig_end {
                End::SynSent | End::SynAckSent => "REJ",
                End::Reset if orig.size() == 0 && resp.size() == 0 => "REJ",
                end if quiet(end) => "RSTRH",
                _ => "RSTR",
            },
            (End::Reset, end) if quiet(end) && history.is_half_open_reset() => "RSTOS0",
            (End::Reset, end) if quiet(end) => "OTH",
            (End::Reset, _) => "RSTO",
            (End::Closed, End::Closed) => "SF",
            (End::Closed, End::Inactive) => "SH",
            (End::Closed, _) => "S2",
            (End::Inactive, End::Closed) => "SHR",
            (_, End::Closed) => "S3",
            (End::SynSent, End::Inactive) => "S0",
            (End::Established, End::Established) => "S1",
            _ => "OTH",
        }
    }
}
