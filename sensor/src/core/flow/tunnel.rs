//! The packets around those of a flow.

use std::net::IpAddr;

use sensor_ebpf::abi::FlowKey;

use super::community_id;
use super::key::Key;
use crate::core::decode::TunnelKind;
use crate::core::event::{self, Event, Extra};
use crate::core::proto::Side;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Where a packet was found within others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tunnel {
    kind: TunnelKind,
    id: Option<u32>,
    /// Packets around it, 1 or more.
    depth: u8,
    /// The outermost packet and the innermost one around it.
    root: Outer,
    parent: Outer,
}

/// A packet with another in it: its ends, the sender first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outer {
    protocol: u8,
    ends: [(IpAddr, u16); 2],
}

impl Outer {
    fn of(key: &FlowKey) -> Self {
        let (both, swapped) = Key::of(key, 0);
        let first = usize::from(swapped);
        Self {
            protocol: key.protocol,
            ends: [both.end(first), both.end(1 - first)],
        }
    }
}

impl Tunnel {
    /// Of a packet in the payload of one with the key `parent`, which is itself within `around`.
    pub(crate) fn new(
        kind: TunnelKind,
        id: Option<u32>,
        parent: &FlowKey,
        around: Option<&Self>,
    ) -> Self {
        let parent = Outer::of(parent);
        Self {
            kind,
            id,
            depth: around.map_or(0, |around| around.depth) + 1,
            root: around.map_or(parent, |around| around.root),
            parent,
        }
    }

    pub(crate) const fn depth(&self) -> u8 {
        self.depth
    }

    /// EVE's `pkt_src` of what was within.
    const fn source(&self) -> &'static str {
        match self.kind {
            TunnelKind::Ip if self.parent.ends[0].0.is_ipv4() => "ipv4 tunnel",
            TunnelKind::Ip => "ipv6 tunnel",
            TunnelKind::Gre | TunnelKind::Erspan => "gre tunnel",
            TunnelKind::Vxlan => "vxlan encapsulation",
            TunnelKind::Geneve => "geneve encapsulation",
            TunnelKind::Gtp => "gtp tunnel",
            TunnelKind::Teredo => "teredo tunnel",
            TunnelKind::Mpls => "mpls tunnel",
            TunnelKind::EtherIp => "etherip tunnel",
        }
    }

    /// EVE's `tunnel`.
    fn event(&self) -> event::Tunnel {
        let [(src, src_port), (dest, dest_port)] = self.root.ends;
        let has_ports = matches!(self.root.protocol, TCP | UDP | SCTP);
        event::Tunnel {
            src_ip: src.into(),
            src_port: has_ports.then_some(src_port),
            dest_ip: dest.into(),
            dest_port: has_ports.then_some(dest_port),
            proto: event::Proto(self.root.protocol),
            depth: self.depth,
            pkt_src: "wire/pcap",
        }
    }

    /// What EVE's `tunnel` lacks.
    fn extra(&self) -> event::TunnelExtra {
        event::TunnelExtra {
            kind: self.kind.name(),
            id: self.id,
            community_id: community_id::of(self.parent.protocol, self.parent.ends),
        }
    }
}

/// Where each side's first packet was found: ports and numbers of the two directions differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tunnels([Option<Tunnel>; 2]);

impl Tunnels {
    /// Notes where a packet of `side` was found, if it is the first.
    #[inline]
    pub(crate) fn note(&mut self, side: Side, tunnel: &Tunnel) {
        let known = &mut self.0[side as usize];
        if known.is_none() {
            *known = Some(tunnel.clone());
        }
    }

    pub(crate) fn flip(&mut self) {
        self.0.swap(0, 1);
    }

    /// Fills in what an event whose source is `side` tells of its tunnel: that of the other side
    /// where nothing came from this one.
    pub(crate) fn describe(&self, side: Side, event: &mut Event) {
        let [own, other] = [side, side.peer()].map(|side| self.0[side as usize].as_ref());
        if let Some(tunnel) = own.or(other) {
            event.pkt_src = Some(tunnel.source());
            event.tunnel = Some(Box::new(tunnel.event()));
            event.extra = Some(Box::new(Extra {
                tunnel: Some(tunnel.extra()),
                ..Extra::default()
            }));
        }
    }
}
