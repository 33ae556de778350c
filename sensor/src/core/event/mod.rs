//! The one typed event that every output serialises, shaped as Suricata 8's EVE JSON.
//!
//! `serde_json::to_writer(out, &event)` gives one EVE record. What EVE has no name for goes into
//! the object `sensor`. Text that came off the wire is [`Text`]: bytes, escaped where they are
//! not UTF-8, never replaced. [`schema()`] is the JSON Schema of exactly these types.

mod address;
mod alert;
mod anomaly;
mod dns;
mod extra;
mod flow;
mod guard;
mod http;
mod schema;
mod stats;
mod text;
mod time;
mod tls;
mod tunnel;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::order::Order;

pub use self::{
    address::{Address, Proto},
    alert::{Action, Alert},
    anomaly::{Anomaly, AnomalyKind, Layer},
    dns::{Answers, Dns, DnsKind, EdnsOption, HexFlags, Query, Rdata, Record, Soa, Srv, Sshfp},
    extra::{Extra, Uncounted},
    flow::{Flow, FlowReason, FlowState, Tcp, TcpFlags, TcpState},
    guard::Guard,
    http::{ContentRange, Http},
    schema::schema,
    stats::Stats,
    text::{Hex, Text},
    time::{CertTime, EveTime},
    tls::{Ja3, Tls},
    tunnel::{Tunnel, TunnelExtra},
};

/// One EVE record: who talked when, and what about.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Event {
    pub timestamp: EveTime,
    /// Below 2^53, so that it survives a JavaScript reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_u64))]
    pub flow_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shared_str")]
    #[schemars(with = "Option<String>")]
    pub in_iface: Option<Arc<str>>,
    /// Number of the capture file's packet that caused the event, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcap_cnt: Option<u64>,
    /// VLAN identifiers, outermost first.
    #[serde(skip_serializing_if = "Vlans::is_empty")]
    pub vlan: Vlans,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_ip: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_ip: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proto: Option<Proto>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_icmp_code: Option<u8>,
    /// IP version, 4 or 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_v: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub community_id: Option<CommunityId>,
    /// Application protocol, `failed` where no protocol was recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_proto: Option<&'static str>,
    /// Protocol seen towards the server, where the two directions disagree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_proto_ts: Option<&'static str>,
    /// Protocol seen towards the client, where the two directions disagree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_proto_tc: Option<&'static str>,
    /// Number of the transaction within its flow, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_id: Option<u64>,
    /// How a packet within others was found: `gre tunnel`, `vxlan encapsulation`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pkt_src: Option<&'static str>,
    /// The packet that the event's one was found within.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Box<Tunnel>>,
    /// `event_type` and the objects named after it.
    #[serde(flatten)]
    pub body: Body,
    /// What EVE has no field for.
    #[serde(rename = "sensor", skip_serializing_if = "Option::is_none")]
    pub extra: Option<Box<Extra>>,
    /// Its place among all events of an engine; for those of others, nothing.
    #[serde(skip)]
    pub order: Order,
}

impl Event {
    /// An event with nothing known but its time; the caller fills in what it knows.
    #[must_use]
    pub fn new(time: super::time::Timestamp, body: Body) -> Self {
        Self {
            timestamp: EveTime(time),
            flow_id: None,
            in_iface: None,
            pcap_cnt: None,
            vlan: Vlans::default(),
            src_ip: None,
            src_port: None,
            dest_ip: None,
            dest_port: None,
            proto: None,
            icmp_type: None,
            icmp_code: None,
            response_icmp_type: None,
            response_icmp_code: None,
            ip_v: None,
            community_id: None,
            app_proto: None,
            app_proto_ts: None,
            app_proto_tc: None,
            tx_id: None,
            pkt_src: None,
            tunnel: None,
            body,
            extra: None,
            order: Order::default(),
        }
    }

    /// Whether packets and bytes are those of samples, which the kernel has counted for another
    /// flow, or for none.
    #[must_use]
    pub fn counts_samples(&self) -> bool {
        self.extra
            .as_ref()
            .is_some_and(|extra| extra.counted.is_some())
    }

    /// Packets that the kernel has counted and this event tells of.
    #[must_use]
    pub fn counted_packets(&self) -> u64 {
        match &self.body {
            Body::Flow { flow, .. } if !self.counts_samples() => {
                flow.pkts_toserver + flow.pkts_toclient
            }
            _ => 0,
        }
    }

    /// Adds to the object `sensor`, keeping what it tells of a tunnel.
    pub fn add_extra(&mut self, mut extra: Box<Extra>) {
        if let Some(old) = self.extra.take() {
            extra.tunnel = old.tunnel;
        }
        self.extra = Some(extra);
    }
}

/// What happened. Large bodies are boxed so that an event stays cheap to move.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event_type", rename_all = "lowercase")]
pub enum Body {
    Flow {
        flow: Box<Flow>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tcp: Option<Tcp>,
    },
    Dns {
        dns: Box<Dns>,
    },
    Http {
        http: Box<Http>,
    },
    Tls {
        tls: Box<Tls>,
    },
    Anomaly {
        anomaly: Anomaly,
    },
    Alert {
        alert: Box<Alert>,
    },
    Stats {
        stats: Box<Stats>,
    },
}

impl Body {
    /// The value of `event_type`.
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::Flow { .. } => "flow",
            Self::Dns { .. } => "dns",
            Self::Http { .. } => "http",
            Self::Tls { .. } => "tls",
            Self::Anomaly { .. } => "anomaly",
            Self::Alert { .. } => "alert",
            Self::Stats { .. } => "stats",
        }
    }
}

fn shared_str<S: serde::Serializer>(
    text: &Option<Arc<str>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

/// Up to four VLAN identifiers, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vlans {
    ids: [u16; 4],
    len: u8,
}

impl Vlans {
    /// Keeps the first four of `ids`.
    #[must_use]
    pub fn new(ids: &[u16]) -> Self {
        let mut vlans = Self::default();
        for (slot, id) in vlans.ids.iter_mut().zip(ids) {
            *slot = *id;
            vlans.len += 1;
        }
        vlans
    }

    #[must_use]
    pub fn ids(&self) -> &[u16] {
        self.ids.get(..usize::from(self.len)).unwrap_or_default()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Serialize for Vlans {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.ids().serialize(serializer)
    }
}

impl JsonSchema for Vlans {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Vlans".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "array", "minItems": 1, "maxItems": 4,
            "items": { "type": "integer", "minimum": 0, "maximum": 4095 }
        })
    }
}

/// A Community ID v1 in its textual form, `1:` and 28 characters of base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommunityId(pub [u8; 30]);

impl Serialize for CommunityId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl JsonSchema for CommunityId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CommunityId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^1:[A-Za-z0-9+/]{27}=$" })
    }
}

#[cfg(test)]
mod tests;
