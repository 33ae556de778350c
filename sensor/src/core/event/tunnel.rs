//! Where a packet within others was found.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Address, CommunityId, Proto};

/// EVE's `tunnel`: the outermost packet, as the event's own ends are those of the innermost one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Tunnel {
    pub src_ip: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
    pub dest_ip: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_port: Option<u16>,
    pub proto: Proto,
    /// How many packets are around the one of the event.
    pub depth: u8,
    /// Where the outermost packet came from.
    pub pkt_src: &'static str,
}

/// `sensor.tunnel`: the tunnel right around the packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TunnelExtra {
    /// Its protocol: `ip`, `gre`, `erspan`, `vxlan`, `geneve`, `gtpv1`, `teredo`, `mpls`,
    /// `etherip`.
    pub kind: &'static str,
    /// VXLAN's or Geneve's network, GTP's tunnel, GRE's key, ERSPAN's session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Of the flow that the packet is in: it joins the inner flow's events to the outer's.
    pub community_id: CommunityId,
}
