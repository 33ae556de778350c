//! A UDP flow's protocol and its parser.

use bytes::Bytes;

use super::{Io, Outcome};
use crate::core::proto::{Parser, ProbeHint, Progress, Recognised, Recognition, Side, Transport};

#[derive(Debug)]
pub(crate) struct Datagrams {
    phase: Phase,
    /// Datagrams shown to probers.
    probed: u8,
}

#[derive(Debug)]
enum Phase {
    Probing(Recognition),
    Parsing(u8, Box<dyn Parser>),
}

impl Datagrams {
    pub(crate) fn new(io: &Io<'_>) -> Self {
        Self {
            phase: Phase::Probing(io.registry.candidates(Transport::Datagram)),
            probed: 0,
        }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        match &self.phase {
            Phase::Probing(_) => Outcome::default(),
            Phase::Parsing(index, parser) => Outcome {
                recognised: Recognised::As(*index),
                transactions: parser.transactions(),
            },
        }
    }

    /// Takes a datagram; gives the outcome if it was the last one of interest.
    pub(crate) fn on_datagram(
        &mut self,
        side: Side,
        data: &Bytes,
        io: &mut Io<'_>,
    ) -> Option<Outcome> {
        if let Phase::Probing(state) = &mut self.phase {
            let hint = ProbeHint {
                side,
                originator_port: io.flow.ends[0].1,
                responder_port: io.flow.ends[1].1,
                transport: Transport::Datagram,
            };
            let unknown = Outcome {
                recognised: Recognised::Unknown,
                transactions: 0,
            };
            match io.registry.probe(state, hint, data) {
                Recognised::Unknown => {
                    io.stats.app.unknown += 1;
                    return Some(unknown);
                }
                Recognised::NotYet => {
                    self.probed += 1;
                    if self.probed < io.limits.probe_datagrams {
                        return None;
                    }
                    io.stats.app.unknown += 1;
                    return Some(unknown);
                }
                Recognised::As(index) => {
                    let parser = io.registry.get(index)?.parser(Transport::Datagram);
                    io.stats.app.recognised[usize::from(index)] += 1;
                    self.phase = Phase::Parsing(index, parser);
                }
            }
        }
        let Phase::Parsing(index, parser) = &mut self.phase else {
            return None;
        };
        let progress = parser.on_data(side, data, &mut io.context(*index));
        match progress {
            Progress::Consumed(_) | Progress::Need { .. } => None,
            Progress::Failed => {
                io.stats.app.failed += 1;
                Some(self.outcome())
            }
            Progress::Done | Progress::Handover(_) => Some(self.outcome()),
        }
    }

    /// The flow ends.
    pub(crate) fn finish(&mut self, io: &mut Io<'_>) {
        if let Phase::Parsing(index, parser) = &mut self.phase {
            for side in Side::BOTH {
                parser.on_end(side, &Bytes::new(), &mut io.context(*index));
            }
        }
    }
}
