//! DNS over UDP and TCP (RFC 1035), mDNS (RFC 6762) and LLMNR (RFC 4795).

mod names;
mod parser;
mod rdata;
mod transaction;

use bytes::Bytes;

use self::parser::{HEADER, Header, framed, question};
use super::{Buffer, Context, Gap, Parser, Probe, ProbeHint, Progress, Protocol, Side, Transport};
use crate::core::event::{Body, Extra};

/// Name of each question, labels joined by `.`.
pub const QUERY: Buffer = Buffer("dns.query");
/// Name of each answer.
pub const ANSWER: Buffer = Buffer("dns.answer.name");

/// DNS and its two link-local siblings, which share the format and differ by port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dns {
    Unicast,
    Multicast,
    LinkLocal,
}

impl Dns {
    const fn port(self) -> u16 {
        match self {
            Self::Unicast => 53,
            Self::Multicast => 5353,
            Self::LinkLocal => 5355,
        }
    }
}

impl Protocol for Dns {
    fn name(&self) -> &'static str {
        match self {
            Self::Unicast => "dns",
            Self::Multicast => "mdns",
            Self::LinkLocal => "llmnr",
        }
    }

    fn runs_over(&self, transport: Transport) -> bool {
        transport == Transport::Datagram || *self == Self::Unicast
    }

    fn probe(&self, hint: ProbeHint, data: &[u8]) -> Probe {
        let usual_port = hint.has_port(self.port());
        if *self != Self::Unicast && !usual_port {
            return Probe::NotForUs;
        }
        let complete = match hint.transport {
            Transport::Datagram => Ok(data),
            Transport::Stream => framed(data),
        };
        let (message, truncated) = match complete {
            Ok(message) => (message, false),
            // The first message of a stream is not complete: judge what there is of it.
            Err(needed) if needed > 2 + HEADER => (data.get(2..).unwrap_or_default(), true),
            Err(2) => return Probe::Unsure,
            Err(_) => return Probe::NotForUs,
        };
        let Some(header) = Header::parse(message) else {
            return if truncated {
                Probe::Unsure
            } else {
                Probe::NotForUs
            };
        };
        // Opcodes: RFC 1035, 1996, 2136, 8490.
        if matches!(header.opcode(), 3 | 7..) || (!truncated && !header.fits(message.len())) {
            return Probe::NotForUs;
        }
        if header.counts[0] == 0 {
            // A refusal or an mDNS announcement; too little to tell on other ports.
            return if usual_port {
                Probe::Certain
            } else {
                Probe::NotForUs
            };
        }
        match question(message, HEADER) {
            Some((question, _)) if usual_port || (is_class(question.class) && strict(header)) => {
                Probe::Certain
            }
            None if truncated => Probe::Unsure,
            _ => Probe::NotForUs,
        }
    }

    fn parser(&self, transport: Transport) -> Box<dyn Parser> {
        Box::new(DnsParser {
            transport,
            messages: 0,
            resync: [false; 2],
        })
    }
}

/// IN, CH, HS, NONE and ANY.
const fn is_class(class: u16) -> bool {
    matches!(class, 1 | 3 | 4 | 254 | 255)
}

/// What a message on an unusual port must look like.
const fn strict(header: Header) -> bool {
    header.counts[0] == 1
        && header.flags & 0x0040 == 0
        && (header.is_response() || header.counts[1] == 0)
}

/// One flow's messages.
#[derive(Debug)]
struct DnsParser {
    transport: Transport,
    messages: u64,
    /// The side's stream has a hole: what follows may not start with a message.
    resync: [bool; 2],
}

impl DnsParser {
    fn message(&mut self, side: Side, data: &[u8], ctx: &mut Context<'_>) {
        let Some(message) = transaction::message(data, self.messages) else {
            ctx.anomaly(side, Some(self.messages), "malformed_data");
            return;
        };
        let tx_id = Some(self.messages);
        self.messages += 1;
        if message.malformed {
            ctx.anomaly(side, tx_id, "malformed_data");
        }
        if message.dns.z {
            ctx.anomaly(side, tx_id, "z_flag_set");
        }
        if message.dns.opcode >= 7 {
            ctx.anomaly(side, tx_id, "invalid_opcode");
        }
        for query in &message.dns.queries {
            ctx.buffer(side, QUERY, &query.rrname.0);
        }
        for answer in &message.dns.answers.0 {
            ctx.buffer(side, ANSWER, &answer.rrname.0);
        }
        let extra = message.class.map(|class| {
            Box::new(Extra {
                query_class: Some(class),
                ..Extra::default()
            })
        });
        ctx.event_with(
            side,
            tx_id,
            Body::Dns {
                dns: Box::new(message.dns),
            },
            extra,
        );
    }

    /// Whether a message may start here.
    fn plausible(stream: &[u8]) -> bool {
        let message = stream.get(2..).unwrap_or_default();
        Header::parse(message).is_some_and(|header| {
            let length = usize::from(u16::from_be_bytes([stream[0], stream[1]]));
            header.opcode() < 7 && header.fits(length) && question(message, HEADER).is_some()
        })
    }
}

impl Parser for DnsParser {
    fn on_data(&mut self, side: Side, data: &Bytes, ctx: &mut Context<'_>) -> Progress {
        if self.transport == Transport::Datagram {
            self.message(side, data, ctx);
            return Progress::Consumed(data.len());
        }
        let mut consumed = 0;
        loop {
            let rest = data.get(consumed..).unwrap_or_default();
            if self.resync[side as usize] && !rest.is_empty() {
                if !Self::plausible(rest) {
                    return Progress::Consumed(data.len());
                }
                self.resync[side as usize] = false;
            }
            match framed(rest) {
                // A length of zero frames nothing.
                Ok([]) => consumed += 2,
                Ok(message) => {
                    consumed += 2 + message.len();
                    self.message(side, message, ctx);
                }
                Err(bytes) => return Progress::Need { consumed, bytes },
            }
        }
    }

    fn on_gap(&mut self, side: Side, _: u64, _: Gap, _: &mut Context<'_>) -> Progress {
        self.resync[side as usize] = true;
        Progress::Consumed(0)
    }

    fn transactions(&self) -> u64 {
        self.messages
    }
}

#[cfg(test)]
mod tests;
