//! The border between the engine and application protocols.
//!
//! A protocol is a folder below this module with one [`Protocol`] (what it is called, how its
//! bytes are recognised) and one [`Parser`] per flow. The engine probes the first bytes of a flow
//! against [`Registry`], never its ports alone, and then hands the flow's bytes to the parser
//! that won: reassembled and in order for TCP, datagram by datagram for UDP. A parser answers
//! with how much it has consumed; the engine keeps the rest, within its limits, and shows it
//! again with more. So parsers hold no byte buffers of their own.

mod context;
mod cursor;
pub mod dns;
#[cfg(test)]
mod drive;
pub mod http;
mod registry;
pub mod tls;

use bytes::Bytes;

pub use self::context::{Buffer, Context, FlowRef, Observer};
pub(crate) use self::registry::Recognised;
pub use self::registry::{MAX_PROTOCOLS, Recognition, Registry};

/// One of the two ends of a flow, as the sender of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one that opened the flow; what it sends goes "to server" in EVE.
    Originator = 0,
    /// The one that was addressed; what it sends goes "to client" in EVE.
    Responder = 1,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Originator, Self::Responder];

    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Originator => Self::Responder,
            Self::Responder => Self::Originator,
        }
    }
}

/// How a protocol's bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP: a reassembled byte stream per side.
    Stream,
    /// UDP: each `on_data` call is exactly one datagram.
    Datagram,
}

/// What a protocol says of a flow's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// This is the protocol, beyond reasonable doubt.
    Certain,
    /// It may be; more bytes would tell.
    Unsure,
    /// It is not, whatever follows.
    NotForUs,
}

/// What a prober may look at besides the bytes. A port may make a weak match certain; it must
/// never be needed.
#[derive(Clone, Copy, Debug)]
pub struct ProbeHint {
    /// Who sent the bytes.
    pub side: Side,
    /// Port of the originator.
    pub originator_port: u16,
    /// Port of the responder.
    pub responder_port: u16,
    pub transport: Transport,
}

impl ProbeHint {
    /// Whether either end uses `port`.
    #[must_use]
    pub const fn has_port(&self, port: u16) -> bool {
        self.originator_port == port || self.responder_port == port
    }
}

/// An application protocol: its name, its prober and the maker of its parsers.
pub trait Protocol: Send + Sync + std::fmt::Debug {
    /// The name, as in EVE's `app_proto`.
    fn name(&self) -> &'static str;

    /// Whether it runs over this transport. Asked once, when it is registered.
    fn runs_over(&self, transport: Transport) -> bool;

    /// Judges the first bytes that one side sent: for a stream everything so far, for datagrams
    /// the datagram. Sees bytes cut off anywhere, must not allocate, and must be cheap: it runs
    /// for every new flow.
    fn probe(&self, hint: ProbeHint, data: &[u8]) -> Probe;

    /// A parser for one flow over `transport`.
    fn parser(&self, transport: Transport) -> Box<dyn Parser>;
}

/// What a parser made of the bytes that it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes from the start are done with; the rest, if any, is shown again with more.
    /// For datagrams the number is ignored.
    Consumed(usize),
    /// `consumed` bytes are done with, and a call is pointless before `bytes` unconsumed ones are
    /// there: spares re-parsing when segments are tiny.
    Need { consumed: usize, bytes: usize },
    /// So many bytes are done with, and what follows on both sides is another protocol
    /// (CONNECT, STARTTLS): it is probed anew.
    Handover(usize),
    /// Nothing more of this flow is of interest (encrypted from here on): the engine drops the
    /// parser and stops reassembling.
    Done,
    /// The bytes break the protocol beyond recovery; the parser has reported why. The engine
    /// drops it and stops reassembling.
    Failed,
}

/// Why bytes of a stream are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// They were sent and acknowledged, but not captured.
    Loss,
    /// They were never meant to be sampled.
    Sampling,
    /// They were captured, but a limit of reassembly left no room for them.
    Limit,
}

/// The state of one protocol in one flow.
pub trait Parser: Send + std::fmt::Debug {
    /// Bytes of one side, from the first unconsumed one.
    fn on_data(&mut self, side: Side, data: &Bytes, ctx: &mut Context<'_>) -> Progress;

    /// `len` bytes of one side's stream are missing after those shown so far; unconsumed ones are
    /// dropped. The next `on_data` of that side starts behind the hole. Never called for
    /// datagrams. The default gives up.
    fn on_gap(&mut self, side: Side, len: u64, gap: Gap, ctx: &mut Context<'_>) -> Progress {
        let _ = (side, len, gap, ctx);
        Progress::Done
    }

    /// One side's stream is over (FIN, RST, or the flow ends); `rest` is what was left
    /// unconsumed. Called at most once per side; for a flow that ends, for both.
    fn on_end(&mut self, side: Side, rest: &Bytes, ctx: &mut Context<'_>) {
        let _ = (side, rest, ctx);
    }

    /// Transactions seen so far, for EVE's `tx_cnt`.
    fn transactions(&self) -> u64;

    /// Whether more transactions are to be expected, however long the connection lasts: live, all
    /// of its packets are then wanted.
    fn goes_on(&self) -> bool {
        false
    }
}

/// Every protocol that the engine dissects, in order of precedence.
#[must_use]
pub fn standard() -> Registry {
    Registry::new(vec![
        Box::new(dns::Dns::Multicast),
        Box::new(dns::Dns::LinkLocal),
        Box::new(dns::Dns::Unicast),
        Box::new(tls::Tls),
        Box::new(http::Http),
    ])
}
