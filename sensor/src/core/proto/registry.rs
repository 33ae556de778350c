use super::{Probe, ProbeHint, Protocol, Side, Transport};

/// Most protocols that a registry holds: the candidates of a flow are bits of a `u32`.
pub const MAX_PROTOCOLS: usize = 32;

/// The protocols that the engine recognises, in order of precedence.
#[derive(Debug)]
pub struct Registry {
    protocols: Vec<Box<dyn Protocol>>,
    /// Bits of the protocols over streams and over datagrams.
    over: [u32; 2],
}

/// What is still possible for a flow: candidates per side, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recognition {
    candidates: [u32; 2],
}

/// Which protocol a flow carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recognised {
    /// More bytes, of either side, may tell.
    #[default]
    NotYet,
    /// None of the registered ones.
    Unknown,
    /// The registry's with this index.
    As(u8),
}

impl Registry {
    /// A registry without protocols: flows are counted, not dissected.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            protocols: Vec::new(),
            over: [0; 2],
        }
    }

    /// A registry of these protocols, the first of several that are certain wins.
    /// Those beyond [`MAX_PROTOCOLS`] are left out.
    #[must_use]
    pub fn new(mut protocols: Vec<Box<dyn Protocol>>) -> Self {
        protocols.truncate(MAX_PROTOCOLS);
        let mut over = [0; 2];
        for (index, protocol) in protocols.iter().enumerate() {
            for transport in [Transport::Stream, Transport::Datagram] {
                if protocol.runs_over(transport) {
                    over[transport as usize] |= 1 << index;
                }
            }
        }
        Self { protocols, over }
    }

    /// Whether there is nothing to recognise.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.protocols.is_empty()
    }

    /// The protocol with this index.
    #[must_use]
    pub fn get(&self, index: u8) -> Option<&dyn Protocol> {
        self.protocols
            .get(usize::from(index))
            .map(|protocol| &**protocol)
    }

    /// All protocols, in order of precedence.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Protocol> {
        self.protocols.iter().map(|protocol| &**protocol)
    }

    /// Where recognition of a new flow starts.
    #[must_use]
    pub const fn candidates(&self, transport: Transport) -> Recognition {
        Recognition {
            candidates: [self.over[transport as usize]; 2],
        }
    }

    /// Shows the first bytes of one side to the candidates that are left.
    pub(crate) fn probe(
        &self,
        state: &mut Recognition,
        hint: ProbeHint,
        data: &[u8],
    ) -> Recognised {
        let side = hint.side as usize;
        let mut left = state.candidates[side];
        while left != 0 {
            let index = left.trailing_zeros();
            left &= left - 1;
            match self.protocols[index as usize].probe(hint, data) {
                Probe::Certain => return Recognised::As(index as u8),
                Probe::Unsure => {}
                Probe::NotForUs => state.candidates[side] &= !(1 << index),
            }
        }
        if state.candidates == [0; 2] {
            Recognised::Unknown
        } else {
            Recognised::NotYet
        }
    }
}

impl Recognition {
    /// Gives up on what one side sends: too many bytes, or a hole among the first.
    pub(crate) const fn exclude(&mut self, side: Side) -> Recognised {
        self.candidates[side as usize] = 0;
        if self.candidates[0] | self.candidates[1] == 0 {
            Recognised::Unknown
        } else {
            Recognised::NotYet
        }
    }
}
