//! A message as an event.

use bytes::Bytes;

use super::{
    names::{record_type, response_code},
    parser::{HEADER, Header, MAX_RECORDS, question, record},
    rdata::rdata,
};
use crate::core::event::{Answers, Dns, DnsKind, HexFlags, Query, Record, Text};

/// A message that has been read.
pub(super) struct Message {
    pub(super) dns: Dns,
    /// Class of the first question, where it is not IN.
    pub(super) class: Option<u16>,
    /// It ends before, or breaks within, what its header announces.
    pub(super) malformed: bool,
}

/// Reads a message. `None` if it has no whole header or no readable question where the header
/// announces one; what breaks later is left out and told by `malformed`.
pub(super) fn message(data: &[u8], tx_id: u64) -> Option<Message> {
    let header = Header::parse(data)?;
    let mut malformed = false;
    let mut at = HEADER;
    let mut queries = Vec::new();
    let mut class = None;
    for _ in 0..header.counts[0] {
        if queries.len() >= MAX_RECORDS {
            malformed = true;
            break;
        }
        let (question, next) = question(data, at)?;
        if queries.is_empty() && question.class != 1 {
            class = Some(question.class);
        }
        queries.push(Query {
            rrname: Text(Bytes::copy_from_slice(question.name.as_bytes())),
            rrtype: record_type(question.kind),
        });
        at = next;
    }
    let mut budget = MAX_RECORDS;
    let [_, answers, authorities, additionals] = header.counts.map(usize::from);
    let [answers, authorities, additionals] = [answers, authorities, additionals].map(|count| {
        if malformed {
            Vec::new()
        } else {
            section(data, &mut at, count, &mut budget, &mut malformed)
        }
    });
    let bit = |mask| header.flags & mask != 0;
    let dns = Dns {
        version: 3,
        kind: if header.is_response() {
            DnsKind::Response
        } else {
            DnsKind::Request
        },
        tx_id,
        id: header.id,
        flags: HexFlags(header.flags),
        qr: bit(0x8000),
        aa: bit(0x0400),
        tc: bit(0x0200),
        rd: bit(0x0100),
        ra: bit(0x0080),
        z: bit(0x0040),
        opcode: header.opcode(),
        rcode: response_code(header.flags),
        queries,
        answers: Answers(answers),
        authorities,
        additionals,
    };
    Some(Message {
        dns,
        class,
        malformed,
    })
}

fn section(
    data: &[u8],
    at: &mut usize,
    count: usize,
    budget: &mut usize,
    malformed: &mut bool,
) -> Vec<Record> {
    let mut records = Vec::new();
    for _ in 0..count {
        let Some(raw) = record(data, *at).filter(|_| *budget > 0) else {
            *malformed = true;
            break;
        };
        *budget -= 1;
        *at = raw.end;
        let rrname = Text(Bytes::copy_from_slice(raw.name.as_bytes()));
        for data in rdata(data, &raw) {
            let rrname = rrname.clone();
            records.push(Record {
                rrname,
                rrtype: record_type(raw.kind),
                ttl: raw.ttl,
                data,
            });
        }
    }
    records
}
