use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::Side;
use crate::core::event::{Anomaly, AnomalyKind, Body, Event, Extra, Layer, Proto, Vlans};
use crate::core::flow::{community_id, icmp, tunnel::Tunnels};
use crate::core::time::Timestamp;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// The flow that bytes belong to, as parsers and observers see it.
#[derive(Clone, Copy, Debug)]
pub struct FlowRef<'a> {
    /// EVE's `flow_id`.
    pub id: u64,
    /// IP protocol number.
    pub protocol: u8,
    /// Addresses and ports (ICMP: type and code), indexed by [`Side`].
    pub ends: [(IpAddr, u16); 2],
    pub vlan: Vlans,
    /// Name of the device that the flow was first seen on, if it is known.
    pub interface: Option<&'a Arc<str>>,
    /// The packets around those of the flow.
    pub(crate) tunnels: Option<&'a Tunnels>,
    /// Name of the application protocol, once it is recognised.
    pub app_proto: Option<&'static str>,
}

/// A part of a protocol's messages that detectors and rules look at, by its name in the rule
/// language: `http.uri`, `dns.query`, `tls.sni`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Buffer(pub &'static str);

/// Sees named buffers as they are dissected. Detectors and rules are observers.
pub trait Observer: Send {
    /// `data` is as it was on the wire, decoded only as far as the buffer's name says.
    fn on_buffer(&mut self, flow: &FlowRef<'_>, side: Side, buffer: Buffer, data: &[u8]);
}

impl FlowRef<'_> {
    /// A flow of which no more is known than who talks with whom, the originator first.
    #[must_use]
    pub fn new(id: u64, protocol: u8, ends: [(IpAddr, u16); 2]) -> Self {
        Self {
            id,
            protocol,
            ends,
            vlan: Vlans::default(),
            interface: None,
            tunnels: None,
            app_proto: None,
        }
    }

    /// An event about this flow, sent by `side`, with all header fields that flows know.
    #[must_use]
    pub fn event(&self, side: Side, time: Timestamp, body: Body) -> Event {
        let mut event = Event::new(time, body);
        let (src, src_port) = self.ends[side as usize];
        let (dest, dest_port) = self.ends[side.peer() as usize];
        event.flow_id = Some(self.id);
        event.in_iface = self.interface.cloned();
        event.vlan = self.vlan;
        event.src_ip = Some(src.into());
        event.dest_ip = Some(dest.into());
        event.proto = Some(Proto(self.protocol));
        event.ip_v = Some(if src.is_ipv4() { 4 } else { 6 });
        match self.protocol {
            TCP | UDP | SCTP => {
                event.src_port = Some(src_port);
                event.dest_port = Some(dest_port);
            }
            ICMP | ICMPV6 => {
                let (kind, code) =
                    icmp::type_and_code(self.protocol, self.ends[0].1, self.ends[1].1);
                event.icmp_type = Some(kind);
                event.icmp_code = Some(code);
            }
            _ => {}
        }
        event.community_id = Some(community_id::of(self.protocol, self.ends));
        event.app_proto = self.app_proto;
        if let Some(tunnels) = self.tunnels {
            tunnels.describe(side, &mut event);
        }
        event
    }
}

/// What a parser can do besides parsing: emit events, report anomalies, expose buffers.
pub struct Context<'a> {
    flow: FlowRef<'a>,
    time: Timestamp,
    number: Option<u64>,
    out: &'a mut dyn FnMut(Event),
    observer: Option<&'a mut (dyn Observer + 'static)>,
}

impl<'a> Context<'a> {
    /// A context for one frame at `time`; `number` is the capture's packet number.
    #[must_use]
    pub fn new(
        flow: FlowRef<'a>,
        time: Timestamp,
        number: Option<u64>,
        out: &'a mut dyn FnMut(Event),
        observer: Option<&'a mut (dyn Observer + 'static)>,
    ) -> Self {
        Self {
            flow,
            time,
            number,
            out,
            observer,
        }
    }

    /// The flow that the bytes belong to.
    #[must_use]
    pub const fn flow(&self) -> &FlowRef<'a> {
        &self.flow
    }

    /// Time of the frame that brought the newest bytes.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// Number of that frame in its capture, from 1.
    #[must_use]
    pub const fn number(&self) -> Option<u64> {
        self.number
    }

    /// Emits an event whose source is `side`. `tx_id` numbers the flow's transactions from 0.
    pub fn event(&mut self, side: Side, tx_id: Option<u64>, body: Body) {
        self.event_with(side, tx_id, body, None);
    }

    /// As [`Self::event`], with the object `sensor`.
    pub fn event_with(
        &mut self,
        side: Side,
        tx_id: Option<u64>,
        body: Body,
        extra: Option<Box<Extra>>,
    ) {
        let mut event = self.flow.event(side, self.time, body);
        event.pcap_cnt = self.number;
        event.tx_id = tx_id;
        if let Some(extra) = extra {
            event.add_extra(extra);
        }
        (self.out)(event);
    }

    /// Reports that `side` broke the protocol. `event` is Suricata's name for it in lower case,
    /// where it has one (`malformed_data`).
    pub fn anomaly(&mut self, side: Side, tx_id: Option<u64>, event: &'static str) {
        let anomaly = Anomaly {
            app_proto: self.flow.app_proto,
            kind: AnomalyKind::Applayer,
            event,
            layer: Some(Layer::ProtoParser),
        };
        self.event(side, tx_id, Body::Anomaly { anomaly });
    }

    /// Shows a named buffer to the detectors and rules.
    pub fn buffer(&mut self, side: Side, buffer: Buffer, data: &[u8]) {
        if let Some(observer) = self.observer.as_mut() {
            observer.on_buffer(&self.flow, side, buffer, data);
        }
    }

    /// Whether anyone looks at buffers: spares building those that are not slices of the wire.
    #[must_use]
    pub const fn observed(&self) -> bool {
        self.observer.is_some()
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("flow", &self.flow)
            .field("time", &self.time)
            .finish()
    }
}
