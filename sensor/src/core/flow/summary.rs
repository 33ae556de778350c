//! The event of a flow's end.

use super::{Flow, ICMP, ICMPV6, TCP};
use crate::core::event::{
    Body, EveTime, Extra, Flow as FlowEvent, FlowReason, FlowState, Tcp, Uncounted,
};
use crate::core::proto::Side;

const SECOND: u64 = 1_000_000_000;

impl Flow {
    /// The body of the flow's `flow` event, and what EVE lacks.
    pub(crate) fn summary(
        &self,
        reason: FlowReason,
        transactions: Option<u64>,
    ) -> (Body, Box<Extra>) {
        let is_counted = self.counts.iter().any(|counts| counts.packets > 0);
        let (counts, beside) = match self.by_samples.as_deref() {
            Some(samples) if !is_counted => (samples, None),
            beside => (&self.counts, beside),
        };
        let [to_server, to_client] = *counts;
        let flow = FlowEvent {
            pkts_toserver: to_server.packets,
            pkts_toclient: to_client.packets,
            bytes_toserver: to_server.bytes,
            bytes_toclient: to_client.bytes,
            start: EveTime(self.start),
            end: EveTime(self.last),
            age: (self.last.0 / SECOND).saturating_sub(self.start.0 / SECOND),
            emergency: reason == FlowReason::Forced,
            state: self.state(),
            reason,
            alerted: false,
            tx_cnt: transactions,
        };
        let is_tcp = self.key.protocol() == TCP;
        let packets = counts
            .iter()
            .chain(beside.into_iter().flatten())
            .fold(0, |sum: u64, counts| sum.saturating_add(counts.packets));
        let extra = Extra {
            conn_state: Some(self.conn_state()),
            history: Some(self.history.text()),
            payload_toserver: is_tcp.then(|| self.tcp.senders[0].size().into()),
            payload_toclient: is_tcp.then(|| self.tcp.senders[1].size().into()),
            dissected_packets: (self.dissected < packets).then_some(self.dissected),
            sampled: self.live.sampled != 0 || self.by_samples.is_some(),
            counted: (self.by_samples.is_some() && beside.is_none()).then_some("samples"),
            uncounted: beside.map(|[to_server, to_client]| Uncounted {
                pkts_toserver: to_server.packets,
                pkts_toclient: to_client.packets,
                bytes_toserver: to_server.bytes,
                bytes_toclient: to_client.bytes,
            }),
            handshake: self.live.by_cookie.then_some("cookie"),
            ..Extra::default()
        };
        let tcp = is_tcp.then(|| self.tcp_object());
        (
            Body::Flow {
                flow: Box::new(flow),
                tcp,
            },
            Box::new(extra),
        )
    }

    fn tcp_object(&self) -> Tcp {
        let [originator, responder] = &self.tcp.senders;
        let mut tcp = Tcp::from_flags(originator.flags, responder.flags);
        tcp.state = Some(self.tcp.state);
        [tcp.ts_gap, tcp.tc_gap] = self.tcp.gap;
        tcp
    }

    /// Zeek's `conn_state`.
    fn conn_state(&self) -> &'static str {
        let heard = |side: Side| self.heard & (1 << side as u8) != 0;
        match self.key.protocol() {
            TCP => self.tcp.conn_state(&self.history),
            ICMP | ICMPV6 => "OTH",
            _ => match (heard(Side::Originator), heard(Side::Responder)) {
                (true, true) => "SF",
                (true, false) => "S0",
                (false, true) => "SHR",
                (false, false) => "OTH",
            },
        }
    }

    /// Whether the flow has ended by itself, as far as TCP's headers tell.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.state(), FlowState::Closed)
    }
}
