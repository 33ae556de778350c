//! Record data: fields where EVE has them, presentation format elsewhere.

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;

use super::{
    names::record_type,
    parser::{RawRecord, name},
};
use crate::core::{
    event::{EdnsOption, Hex, Rdata, Soa, Srv, Sshfp, Text},
    proto::cursor::Cursor,
};

/// What `record` says. Several values for TXT, whose strings EVE lists one by one; never none.
pub(super) fn rdata(message: &[u8], record: &RawRecord) -> Vec<Rdata> {
    let data = message.get(record.data..record.end).unwrap_or_default();
    if matches!(record.kind, 16 | 99) {
        return strings(data);
    }
    vec![single(message, record, data).unwrap_or(Rdata::None {})]
}

fn single(message: &[u8], record: &RawRecord, data: &[u8]) -> Option<Rdata> {
    let mut cursor = Cursor::new(data);
    Some(match record.kind {
        1 => Rdata::Address {
            rdata: Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into(),
        },
        28 => Rdata::Address {
            rdata: Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into(),
        },
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME: one name.
        2..=5 | 7..=9 | 12 | 39 => text(name_at(message, record, 0)?.0),
        6 => soa(message, record)?,
        10 => Rdata::Text {
            rdata: Text(Bytes::copy_from_slice(data)),
        },
        15 => text(name_at(message, record, 2)?.0),
        33 => Rdata::Srv {
            srv: Box::new(Srv {
                priority: cursor.u16()?,
                weight: cursor.u16()?,
                port: cursor.u16()?,
                name: name_at(message, record, 6)?.0,
            }),
        },
        41 => options(data),
        44 => Rdata::Sshfp {
            sshfp: Sshfp {
                algo: cursor.u8()?,
                kind: cursor.u8()?,
                fingerprint: Hex(Bytes::copy_from_slice(cursor.rest())),
            },
        },
        _ => text(presentation(message, record, cursor)?.into()),
    })
}

fn text(rdata: Text) -> Rdata {
    Rdata::Text { rdata }
}

/// The name `offset` bytes into the record's data, and where what follows starts; it must end
/// within the data.
fn name_at(message: &[u8], record: &RawRecord, offset: usize) -> Option<(Text, usize)> {
    let (name, next) = name(message, record.data + offset)?;
    (next <= record.end).then(|| (Text(Bytes::copy_from_slice(name.as_bytes())), next))
}

fn strings(data: &[u8]) -> Vec<Rdata> {
    let mut cursor = Cursor::new(data);
    let mut values = Vec::new();
    while let Some(value) = cursor.vector8() {
        values.push(text(Text(Bytes::copy_from_slice(value))));
    }
    if values.is_empty() {
        values.push(Rdata::None {});
    }
    values
}

fn soa(message: &[u8], record: &RawRecord) -> Option<Rdata> {
    let (mname, at) = name_at(message, record, 0)?;
    let (rname, at) = name_at(message, record, at - record.data)?;
    let mut cursor = Cursor::new(message.get(at..record.end)?);
    let soa = Soa {
        mname,
        rname,
        serial: cursor.u32()?,
        refresh: cursor.u32()?,
        retry: cursor.u32()?,
        expire: cursor.u32()?,
        minimum: cursor.u32()?,
    };
    Some(Rdata::Soa { soa: Box::new(soa) })
}

fn options(data: &[u8]) -> Rdata {
    let mut cursor = Cursor::new(data);
    let mut opt = Vec::new();
    while let Some(code) = cursor.u16() {
        let Some(data) = cursor.vector16() else { break };
        opt.push(EdnsOption {
            code,
            data: Hex(Bytes::copy_from_slice(data)),
        });
    }
    if opt.is_empty() {
        Rdata::None {}
    } else {
        Rdata::Opt { opt }
    }
}

/// RFC 1035 section 5.1 and each type's own RFC.
fn presentation(message: &[u8], record: &RawRecord, mut cursor: Cursor<'_>) -> Option<String> {
    Some(match record.kind {
        // HINFO: two strings.
        13 => format!(
            "{} {}",
            quoted(cursor.vector8()?),
            quoted(cursor.vector8()?)
        ),
        // NAPTR (RFC 3403 section 4.1).
        35 => {
            let (order, preference) = (cursor.u16()?, cursor.u16()?);
            let (flags, services) = (cursor.vector8()?, cursor.vector8()?);
            let rule = cursor.vector8()?;
            let offset = 7 + flags.len() + services.len() + rule.len();
            let (flags, services, rule) = (quoted(flags), quoted(services), quoted(rule));
            let replacement = dotted(message, record, offset)?;
            format!("{order} {preference} {flags} {services} {rule} {replacement}")
        }
        // DS and CDS (RFC 4034 section 5.3).
        43 | 59 => {
            let (tag, algorithm, digest) = (cursor.u16()?, cursor.u8()?, cursor.u8()?);
            format!("{tag} {algorithm} {digest} {}", hex(cursor.rest()))
        }
        // RRSIG (RFC 4034 section 3.2).
        46 => {
            let (covered, algorithm, labels) = (cursor.u16()?, cursor.u8()?, cursor.u8()?);
            let (ttl, expires, inception) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
            let tag = cursor.u16()?;
            let (signer, next) = name_at(message, record, 18)?;
            let signature = BASE64_STANDARD.encode(message.get(next..record.end)?);
            let (covered, signer) = (record_type(covered), signer.to_str().into_owned());
            format!(
                "{covered} {algorithm} {labels} {ttl} {expires} {inception} {tag} {signer}. {signature}"
            )
        }
        // DNSKEY and CDNSKEY (RFC 4034 section 2.2).
        48 | 60 => {
            let (flags, protocol, algorithm) = (cursor.u16()?, cursor.u8()?, cursor.u8()?);
            let key = BASE64_STANDARD.encode(cursor.rest());
            format!("{flags} {protocol} {algorithm} {key}")
        }
        // TLSA and SMIMEA (RFC 6698 section 2.2).
        52 | 53 => {
            let (usage, selector, matching) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
            format!("{usage} {selector} {matching} {}", hex(cursor.rest()))
        }
        // SVCB and HTTPS (RFC 9460 section 2.1).
        64 | 65 => {
            let priority = cursor.u16()?;
            let (target, next) = name_at(message, record, 2)?;
            let mut out = format!("{priority} {}.", target.to_str());
            parameters(Cursor::new(message.get(next..record.end)?), &mut out);
            out
        }
        // URI (RFC 7553 section 4.5).
        256 => {
            let (priority, weight) = (cursor.u16()?, cursor.u16()?);
            format!("{priority} {weight} {}", quoted(cursor.rest()))
        }
        // CAA (RFC 8659 section 4.1.1).
        257 => {
            let flags = cursor.u8()?;
            let tag = Text(Bytes::copy_from_slice(cursor.vector8()?));
            format!("{flags} {} {}", tag.to_str(), quoted(cursor.rest()))
        }
        _ => return None,
    })
}

fn dotted(message: &[u8], record: &RawRecord, offset: usize) -> Option<String> {
    name_at(message, record, offset).map(|(name, _)| format!("{}.", name.to_str()))
}

fn quoted(value: &[u8]) -> String {
    format!("\"{}\"", Text(Bytes::copy_from_slice(value)).to_str())
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// RFC 9460 section 14.3.2's keys; values of unknown ones in hexadecimal.
fn parameters(mut cursor: Cursor<'_>, out: &mut String) {
    while let (Some(key), Some(value)) = (cursor.u16(), cursor.vector16()) {
        let mut values = Cursor::new(value);
        let mut list = Vec::new();
        let key_name = match key {
            1 => {
                while let Some(alpn) = values.vector8() {
                    list.push(Text(Bytes::copy_from_slice(alpn)).to_str().into_owned());
                }
                "alpn"
            }
            2 => "no-default-alpn",
            3 => {
                list.extend(values.u16().map(|port| port.to_string()));
                "port"
            }
            4 => {
                let addresses = value.as_chunks::<4>().0.iter();
                list.extend(addresses.map(|&octets| Ipv4Addr::from(octets).to_string()));
                "ipv4hint"
            }
            5 => {
                list.push(BASE64_STANDARD.encode(value));
                "ech"
            }
            6 => {
                let addresses = value.as_chunks::<16>().0.iter();
                list.extend(addresses.map(|&octets| Ipv6Addr::from(octets).to_string()));
                "ipv6hint"
            }
            _ => {
                let _ = write!(out, " key{key}={}", hex(value));
                continue;
            }
        };
        let _ = write!(out, " {key_name}");
        if !list.is_empty() {
            let _ = write!(out, "={}", list.join(","));
        }
    }
}
