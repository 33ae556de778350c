//! A packet's payload meets the session of its flow.

use bytes::Bytes;

use super::Tracker;
use super::anomaly::anomaly;
use super::emit::Emitter;
use super::found::Meta;
use super::packet::interface;
use crate::core::event::AnomalyKind;
use crate::core::flow::tcp::{ACK, FIN, RST, SYN, Segment};
use crate::core::proto::Side;
use crate::core::session::{Datagrams, Io, Outcome, Session, Stream, StreamSegment};

impl Tracker {
    /// Gives a segment to the stream of its flow, and tells of what the stream has lost.
    pub(super) fn segment(
        &mut self,
        slot: u32,
        side: Side,
        segment: &Segment,
        payload: Bytes,
        meta: &Meta,
        out: &mut Emitter<'_>,
    ) {
        let Some(flow) = self.table.get_mut(slot) else {
            return;
        };
        let controls = segment.flags & (FIN | RST) != 0;
        match &mut flow.session {
            Session::Over(_) | Session::Datagrams(_) => return,
            Session::New => {
                if payload.is_empty() {
                    return;
                }
                if self.config.registry.is_empty()
                    || !(self.config.midstream || flow.tcp.has_opening())
                {
                    flow.session = Session::Over(Outcome::default());
                    return;
                }
            }
            Session::Stream(stream) => {
                let waiting = segment.has(ACK) && stream.acknowledge(side, segment.ack);
                if segment.len == 0 && !waiting && !controls && !meta.skipped {
                    return;
                }
            }
        }
        let sender = &flow.tcp.senders[side as usize];
        let syn = u32::from(segment.has(SYN));
        let part = StreamSegment {
            side,
            seq: segment.seq.wrapping_add(syn),
            cut: segment
                .len
                .saturating_sub(u32::try_from(payload.len()).unwrap_or(u32::MAX)),
            data: payload,
            start: sender.start_if_known(),
            ack: segment.has(ACK).then_some(segment.ack),
            fin: segment
                .has(FIN)
                .then(|| segment.seq.wrapping_add(syn).wrapping_add(segment.len)),
            reset: segment.has(RST),
            skipped: meta.skipped,
        };
        let name = interface(&self.interfaces, flow.key.ifindex());
        let (reference, session) = flow.split(name);
        let mut emit = |event| out.send(event);
        let mut io = Io {
            flow: reference,
            time: meta.time,
            number: meta.number,
            registry: &self.config.registry,
            limits: &self.config.limits,
            stats: &mut self.stats,
            observer: self.observer.as_deref_mut(),
            out: &mut emit,
        };
        if matches!(session, Session::New) {
            *session = Session::Stream(Box::new(Stream::new(&mut io)));
        }
        let Session::Stream(stream) = session else {
            return;
        };
        let outcome = stream.on_segment(part, &mut io);
        let losses = stream.take_losses();
        if let Some(outcome) = outcome {
            self.stats.stream.active -= 1;
            *session = Session::Over(outcome);
        }
        for side in Side::BOTH {
            if losses[side as usize] {
                flow.history.logarithmic(side, b'G');
                if !std::mem::replace(&mut flow.tcp.gap[side as usize], true)
                    && flow.anomalies < self.config.limits.flow_anomalies
                {
                    flow.anomalies += 1;
                    let anomaly = anomaly(AnomalyKind::Stream, "stream.reassembly_seq_gap");
                    let mut event = flow.as_ref(name).event(side, meta.time, anomaly);
                    event.pcap_cnt = meta.number;
                    out.send(event);
                }
            }
        }
    }

    /// Gives a datagram to its flow's protocol.
    pub(super) fn datagram(
        &mut self,
        slot: u32,
        side: Side,
        data: Bytes,
        meta: &Meta,
        out: &mut Emitter<'_>,
    ) {
        let Some(flow) = self.table.get_mut(slot) else {
            return;
        };
        if matches!(flow.session, Session::Over(_)) {
            return;
        }
        let (reference, session) = flow.split(interface(&self.interfaces, flow.key.ifindex()));
        let mut emit = |event| out.send(event);
        let mut io = Io {
            flow: reference,
            time: meta.time,
            number: meta.number,
            registry: &self.config.registry,
            limits: &self.config.limits,
            stats: &mut self.stats,
            observer: self.observer.as_deref_mut(),
            out: &mut emit,
        };
        if matches!(session, Session::New) {
            *session = if io.registry.is_empty() {
                Session::Over(Outcome::default())
            } else {
                Session::Datagrams(Box::new(Datagrams::new(&io)))
            };
        }
        let Session::Datagrams(datagrams) = session else {
            return;
        };
        if let Some(outcome) = datagrams.on_datagram(side, &data, &mut io) {
            *session = Session::Over(outcome);
        }
    }
}
