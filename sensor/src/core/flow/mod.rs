//! Flows: who talks to whom, both directions together.

pub mod community_id;
mod history;
pub(crate) mod icmp;
pub(crate) mod key;
mod summary;
pub(crate) mod table;
pub(crate) mod tcp;
pub(crate) mod tunnel;
pub(crate) mod wheel;

use std::sync::Arc;

use sensor_ebpf::sampling::Verdict;

use self::history::History;
use self::key::Key;
use self::tcp::Tcp;
use self::tunnel::Tunnels;
use super::event::FlowState;
use super::limits::{FlowTimeouts, Timeouts};
use super::order::Moment;
use super::proto::{FlowRef, Recognised, Registry, Side};
use super::session::{Session, app_proto};
use super::time::Timestamp;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// What one side of a flow has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) packets: u64,
    /// Bytes of frames on the wire, without FCS.
    pub(crate) bytes: u64,
}

impl Counts {
    pub(crate) const fn add(&mut self, packets: u64, bytes: u64) {
        self.packets = self.packets.saturating_add(packets);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// A live flow.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) key: Key,
    /// The first packet's source is the key's second end.
    pub(crate) swapped: bool,
    /// When it began: no two flows of an engine at the same moment.
    pub(crate) created: Moment,
    /// EVE's `flow_id`.
    pub(crate) id: u64,
    pub(crate) start: Timestamp,
    pub(crate) last: Timestamp,
    /// Of a capture's frames; live, of the kernel's drains alone.
    pub(crate) counts: [Counts; 2],
    /// Live, of samples that the kernel has counted for another flow, or for none: they add up
    /// with no count of the kernel's.
    pub(crate) by_samples: Option<Box<[Counts; 2]>>,
    /// Packets that were dissected.
    pub(crate) dissected: u64,
    pub(crate) tcp: Tcp,
    pub(crate) history: History,
    pub(crate) session: Session,
    /// Sides that have sent: bits of [`Side`].
    pub(crate) heard: u8,
    /// Anomalies reported.
    pub(crate) anomalies: u8,
    /// A wrong checksum was reported.
    pub(crate) checksum_told: bool,
    /// There are packets in its payload, of flows of their own.
    pub(crate) is_tunnel: bool,
    pub(crate) tunnels: Option<Box<Tunnels>>,
    pub(crate) live: Live,
}

/// What only flows of live traffic need.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Live {
    /// The generation of the latest sample; its drain is waited for. 0 for captures.
    pub(crate) sampled: u64,
    /// Generation and number of each side's next sample, if none is left out.
    pub(crate) expected: [(u64, u64); 2],
    /// The generation of the first sample, and how many packets of each side that generation had
    /// counted before the side's first sample: those of a predecessor with the same key.
    pub(crate) began: u64,
    pub(crate) before: [Option<u64>; 2],
    /// A predecessor still waits for its counts.
    pub(crate) is_successor: bool,
    /// Device direction that each side was first seen in, plus 1: a packet that crosses one
    /// device twice (loopback, hairpin) counts once.
    pub(crate) direction: [u8; 2],
    /// How often packets in the payload, of flows of their own, brought something new.
    pub(crate) news: u64,
    /// A SYN cookie of the guard opened the connection.
    pub(crate) by_cookie: bool,
    /// What the kernel's sampling was told of each side; `None` for nothing.
    pub(crate) told: [Option<Verdict>; 2],
    /// Transactions at the latest sample, and samples of each side since their number last grew.
    pub(crate) transactions: u64,
    pub(crate) unproductive: [u16; 2],
}

impl Flow {
    pub(crate) fn new(key: Key, swapped: bool, created: Moment, id: u64, time: Timestamp) -> Self {
        Self {
            key,
            swapped,
            created,
            id,
            start: time,
            last: time,
            counts: [Counts::default(); 2],
            by_samples: None,
            dissected: 0,
            tcp: Tcp::default(),
            history: History::default(),
            session: Session::New,
            heard: 0,
            anomalies: 0,
            checksum_told: false,
            is_tunnel: false,
            tunnels: None,
            live: Live::default(),
        }
    }

    /// The side of a packet whose source is the key's second end, if `swapped`.
    #[inline]
    pub(crate) const fn side(&self, swapped: bool) -> Side {
        if swapped == self.swapped {
            Side::Originator
        } else {
            Side::Responder
        }
    }

    /// What `side` has sent, as samples tell it, or as whoever sees all packets does.
    #[inline]
    pub(crate) fn counts_of(&mut self, side: Side, by_samples: bool) -> &mut Counts {
        let counts = if by_samples {
            &mut **self.by_samples.get_or_insert_default()
        } else {
            &mut self.counts
        };
        &mut counts[side as usize]
    }

    /// Turns the roles round: before anything else was noted, the first packet proved to be an
    /// answer.
    pub(crate) fn flip(&mut self) {
        self.swapped = !self.swapped;
        self.counts.swap(0, 1);
        if let Some(counts) = &mut self.by_samples {
            counts.swap(0, 1);
        }
        self.tcp.flip();
        if let Some(tunnels) = &mut self.tunnels {
            tunnels.flip();
        }
        self.live.expected.swap(0, 1);
        self.live.direction.swap(0, 1);
        self.live.before.swap(0, 1);
        self.live.told.swap(0, 1);
        self.live.unproductive.swap(0, 1);
        self.heard = (self.heard & 1) << 1 | self.heard >> 1;
        self.history.flipped();
    }

    /// The flow as parsers and observers see it, and its session, which they may change.
    pub(crate) fn split<'a>(
        &'a mut self,
        interface: Option<&'a Arc<str>>,
    ) -> (FlowRef<'a>, &'a mut Session) {
        let Self {
            key,
            swapped,
            id,
            tunnels,
            session,
            ..
        } = self;
        (
            reference(key, *swapped, *id, tunnels.as_deref(), interface),
            session,
        )
    }

    pub(crate) fn as_ref<'a>(&'a self, interface: Option<&'a Arc<str>>) -> FlowRef<'a> {
        reference(
            &self.key,
            self.swapped,
            self.id,
            self.tunnels.as_deref(),
            interface,
        )
    }

    /// EVE's `app_proto`: of a tunnel none, unless it was something else before.
    pub(crate) fn app_proto(&self, registry: &Registry) -> Option<&'static str> {
        match self.session.outcome().recognised {
            Recognised::Unknown if self.is_tunnel => None,
            recognised => app_proto(registry, recognised),
        }
    }

    /// EVE's `flow.state`.
    #[inline]
    pub(crate) const fn state(&self) -> FlowState {
        use super::event::TcpState;
        if self.key.protocol() != TCP {
            return if self.heard == 3 {
                FlowState::Established
            } else {
                FlowState::New
            };
        }
        match self.tcp.state {
            TcpState::None | TcpState::SynSent | TcpState::SynRecv => FlowState::New,
            TcpState::LastAck | TcpState::TimeWait | TcpState::Closed => FlowState::Closed,
            _ => FlowState::Established,
        }
    }

    /// For how long the flow may be quiet, nanoseconds.
    #[inline]
    pub(crate) const fn timeout(&self, timeouts: &Timeouts) -> u64 {
        let FlowTimeouts {
            new,
            established,
            closed,
        } = match self.key.protocol() {
            TCP => timeouts.tcp,
            UDP => timeouts.udp,
            ICMP | ICMPV6 => timeouts.icmp,
            _ => timeouts.other,
        };
        match self.state() {
            FlowState::New => new,
            FlowState::Closed => closed,
            FlowState::Established | FlowState::Bypassed => established,
        }
    }

    /// When the flow ends, if nothing more comes.
    #[inline]
    pub(crate) const fn due(&self, timeouts: &Timeouts) -> Timestamp {
        Timestamp(self.last.0.saturating_add(self.timeout(timeouts)))
    }
}

fn reference<'a>(
    key: &Key,
    swapped: bool,
    id: u64,
    tunnels: Option<&'a Tunnels>,
    interface: Option<&'a Arc<str>>,
) -> FlowRef<'a> {
    let first = usize::from(swapped);
    FlowRef {
        id,
        protocol: key.protocol(),
        ends: [key.end(first), key.end(1 - first)],
        vlan: key.vlans(),
        interface,
        tunnels,
        app_proto: None,
    }
}
