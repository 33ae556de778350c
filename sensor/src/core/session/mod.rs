//! What a flow carries: recognition of its protocol, reassembly for it, and its parser.

mod assembler;
mod datagrams;
mod io;
mod pending;
mod stream;

pub(crate) use self::datagrams::Datagrams;
pub(crate) use self::io::{Io, app_proto};
pub(crate) use self::stream::{Stream, StreamSegment};

use super::proto::Recognised;

/// How far a flow's dissection is.
#[derive(Debug)]
pub(crate) enum Session {
    /// No payload yet.
    New,
    Stream(Box<Stream>),
    Datagrams(Box<Datagrams>),
    /// Dissection has ended, or never began.
    Over(Outcome),
}

/// What is left of a session: enough for the flow's event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) recognised: Recognised,
    pub(crate) transactions: u64,
}

impl Outcome {
    pub(crate) const fn is_recognised(&self) -> bool {
        matches!(self.recognised, Recognised::As(_))
    }
}

impl Session {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::New => Outcome::default(),
            Self::Stream(stream) => stream.outcome(),
            Self::Datagrams(datagrams) => datagrams.outcome(),
            Self::Over(outcome) => *outcome,
        }
    }
}
