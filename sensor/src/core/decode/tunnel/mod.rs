//! Packets within the payload of others.
//!
//! Each protocol's file finds out what its header says comes next. Where only a port tells of a
//! tunnel, what else the header must have has to fit, too: else the datagram is an ordinary one.

mod erspan;
mod geneve;
mod gre;
mod gtp;
mod teredo;
mod vxlan;

use sensor_ebpf::abi::FlowKey;
use sensor_ebpf::parse::{Headers, Origin};

use super::layer::{self, Next};
use super::{Packet, Stop, anomaly, read};

const IPV4: u8 = 4;
const UDP: u8 = 17;
const IPV6: u8 = 41;
const GRE: u8 = 47;
const ETHERIP: u8 = 97;
const MPLS: u8 = 137;
/// MPLS in UDP: RFC 7510.
const MPLS_PORT: u16 = 6635;
/// What is not followed and needs no checksum of UDP over IPv6: AMT (RFC 7450), LISP (RFC 9300), GRE
/// (RFC 8086), GUE (draft-ietf-intarea-gue); and RoCE, which has a checksum of its own.
const OTHER_PORTS: [u16; 5] = [2268, 4341, 4754, 6080, 4791];

/// A tunnel's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// IPv4 or IPv6 within either of them (RFC 2003, 2473, 4213).
    Ip,
    Gre,
    Erspan,
    Vxlan,
    Geneve,
    Gtp,
    Teredo,
    /// Label stacks within IP or UDP (RFC 4023, 7510).
    Mpls,
    /// Ethernet within IP (RFC 3378).
    EtherIp,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Ip,
        Self::Gre,
        Self::Erspan,
        Self::Vxlan,
        Self::Geneve,
        Self::Gtp,
        Self::Teredo,
        Self::Mpls,
        Self::EtherIp,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Gre => "gre",
            Self::Erspan => "erspan",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gtp => "gtpv1",
            Self::Teredo => "teredo",
            Self::Mpls => "mpls",
            Self::EtherIp => "etherip",
        }
    }
}

/// What a tunnel's header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Carried {
    kind: Kind,
    /// The network, tunnel, key or session, by whatever number the protocol has for it.
    id: Option<u32>,
    at: usize,
    next: Next,
}

/// `None` where there is no tunnel.
type Header = Result<Option<Carried>, Stop>;

/// A packet within another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inner {
    pub(crate) kind: Kind,
    pub(crate) id: Option<u32>,
    /// Where it begins, with its link header if it has one; its own offsets count from here.
    pub(crate) at: usize,
    pub(crate) packet: Packet,
}

/// The packet within `outer`, whose offsets count from the start of `data`. Only its own VLAN tags
/// are in its key: those of the tunnel belong to the tunnel.
#[inline]
pub(crate) fn inner(outer: &Packet, data: &[u8], origin: Origin) -> Result<Option<Inner>, Stop> {
    if !may_be_tunnel(outer) {
        return Ok(None);
    }
    let data = &data[..outer.headers.end.min(data.len())];
    let Some(carried) = header(outer, data)? else {
        return Ok(None);
    };
    let data = data.get(carried.at..).unwrap_or_default();
    let network = layer::network(data, 0, carried.next)?;
    let origin = Origin {
        vlan: None,
        ..origin
    };
    let packet = super::ip(data, &network, origin).map_err(|stop| match stop {
        Stop::Unparsed(reason) => {
            anomaly::of_ip(data.get(network.offset..).unwrap_or_default(), reason)
        }
        stop => stop,
    })?;
    Ok(Some(Inner {
        kind: carried.kind,
        id: carried.id,
        at: carried.at,
        packet,
    }))
}

/// Spares most packets the rest.
#[inline]
pub(crate) fn may_be_tunnel(outer: &Packet) -> bool {
    let is_port = |port: u16| {
        matches!(
            port,
            gtp::PORT | teredo::PORT | geneve::PORT | vxlan::GPE_PORT | MPLS_PORT
        ) || vxlan::PORTS.contains(&port)
    };
    match outer.key.protocol {
        UDP => is_port(outer.key.dst_port) || is_port(outer.key.src_port),
        IPV4 | IPV6 | GRE | ETHERIP | MPLS => true,
        _ => false,
    }
}

/// Whether a datagram is to or from the port of a protocol which may do without a checksum: RFC 6936.
pub(super) fn may_have_no_checksum(packet: &Packet) -> bool {
    let FlowKey {
        src_port, dst_port, ..
    } = packet.key;
    may_be_tunnel(packet) || OTHER_PORTS.contains(&src_port) || OTHER_PORTS.contains(&dst_port)
}

fn header(outer: &Packet, data: &[u8]) -> Header {
    let at = outer.headers.payload;
    let simple = |kind, at, next| {
        Ok(Some(Carried {
            kind,
            id: None,
            at,
            next,
        }))
    };
    match outer.key.protocol {
        IPV4 | IPV6 => simple(Kind::Ip, at, Next::Ip),
        GRE => gre::header(data, at),
        // RFC 3378 section 3: version 3, the rest zero.
        ETHERIP => match read(data, at) {
            Some([0x30, 0]) => simple(Kind::EtherIp, at + 2, Next::Ethernet),
            Some(_) => Err(Stop::Wrong("decoder.etherip.wrong_version")),
            None => Err(Stop::Short("decoder.etherip.header_too_small")),
        },
        MPLS => simple(Kind::Mpls, at, Next::Mpls),
        _ => udp(outer, data),
    }
}

fn udp(outer: &Packet, data: &[u8]) -> Header {
    let Headers {
        transport, payload, ..
    } = outer.headers;
    let end = read(data, transport + 4)
        .map_or(0, |len| transport + usize::from(u16::from_be_bytes(*len)));
    let (source, destination) = (outer.key.src_port, outer.key.dst_port);
    // Where each direction has a source port of its own choice, the destination tells.
    match destination {
        port if vxlan::PORTS.contains(&port) => vxlan::header(data, payload),
        vxlan::GPE_PORT => vxlan::generic_header(data, payload),
        geneve::PORT => geneve::header(data, payload),
        // Nothing but the port tells, and behind it IP that fills the datagram.
        MPLS_PORT => match layer::network(data, payload, Next::Mpls) {
            Ok(found) if ip_end(data, found.offset) == Some(end) => Ok(Some(Carried {
                kind: Kind::Mpls,
                id: None,
                at: payload,
                next: Next::Mpls,
            })),
            _ => Ok(None),
        },
        _ if [source, destination].contains(&gtp::PORT) => gtp::header(data, payload, end),
        _ if [source, destination].contains(&teredo::PORT) => teredo::header(data, payload, end),
        _ => Ok(None),
    }
}

/// Where the IP packet at `at` ends by its own header.
fn ip_end(data: &[u8], at: usize) -> Option<usize> {
    let header: &[u8; 6] = read(data, at)?;
    let len = match header[0] >> 4 {
        4 => usize::from(u16::from_be_bytes([header[2], header[3]])),
        6 => 40 + usize::from(u16::from_be_bytes([header[4], header[5]])),
        _ => return None,
    };
    Some(at + len)
}

#[cfg(test)]
mod tests;
