//! The object `sensor`: what EVE has no field for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{TunnelExtra, flow::is_false, guard::Guard, text::Text};

/// Every field is optional; which are set depends on the event's type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Extra {
    /// Zeek's `conn_state`: `S0`, `SF`, `REJ`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn_state: Option<&'static str>,
    /// Zeek's `history`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Text>,
    /// Payload bytes towards the server, from sequence numbers for TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_toserver: Option<u64>,
    /// Payload bytes towards the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_toclient: Option<u64>,
    /// IP bytes towards the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_bytes_toserver: Option<u64>,
    /// IP bytes towards the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_bytes_toclient: Option<u64>,
    /// Payload bytes that the reassembly never saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_bytes: Option<u64>,
    /// Packets of the flow that were dissected, where not all were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dissected_packets: Option<u64>,
    /// The flow's tail was not sampled: its application data is incomplete by intent.
    #[serde(skip_serializing_if = "is_false")]
    pub sampled: bool,
    /// `samples`: packets and bytes are those of samples, since the kernel counts only the flow
    /// around this one, or takes its packets for something else than IP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted: Option<&'static str>,
    /// Packets of the flow that the kernel counted for none, since labels or the like hide them
    /// from it: none of them is in the flow's own counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncounted: Option<Uncounted>,
    /// The tunnel that the flow is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelExtra>,
    /// Bytes of an HTTP request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_length: Option<u64>,
    /// An HTTP response's reason phrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_message: Option<Text>,
    /// The cipher suite that a TLS server chose, by IANA's name or as `0xNNNN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher: Option<Text>,
    /// Class of a DNS query where it is not IN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_class: Option<u16>,
    /// `cookie`: the guard's SYN cookie opened the connection; its handshake was not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake: Option<&'static str>,
    /// A change of state of the SYN-flood guard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<Box<Guard>>,
    /// What an alert's detector measured, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub observed: BTreeMap<&'static str, u64>,
}

/// Packets and bytes of samples, beside those that the kernel counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Uncounted {
    pub pkts_toserver: u64,
    pub pkts_toclient: u64,
    /// Bytes of frames on the wire, without FCS.
    pub bytes_toserver: u64,
    pub bytes_toclient: u64,
}
