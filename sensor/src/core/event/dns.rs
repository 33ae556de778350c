//! One DNS message, in the shape of EVE's dns version 3.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use super::{
    address::Address,
    flow::is_false,
    text::{Hex, Text},
};

/// RFC 1035 section 4.1.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Dns {
    /// Version of this object's layout, 3.
    pub version: u8,
    #[serde(rename = "type")]
    pub kind: DnsKind,
    /// Number of the message within its flow, from 0.
    pub tx_id: u64,
    pub id: u16,
    pub flags: HexFlags,
    #[serde(skip_serializing_if = "is_false")]
    pub qr: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub aa: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub tc: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub rd: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub ra: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub z: bool,
    pub opcode: u8,
    /// The mnemonic, or the number where there is none.
    pub rcode: Cow<'static, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<Query>,
    #[serde(flatten)]
    pub answers: Answers,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorities: Vec<Record>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additionals: Vec<Record>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DnsKind {
    Request,
    Response,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Query {
    pub rrname: Text,
    pub rrtype: Cow<'static, str>,
}

/// A resource record.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Record {
    pub rrname: Text,
    pub rrtype: Cow<'static, str>,
    pub ttl: u32,
    #[serde(flatten)]
    pub data: Rdata,
}

/// What a record says. Types without an object of their own have their presentation format
/// (RFC 1035 section 5, or the type's RFC) as `rdata`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Rdata {
    Address {
        rdata: Address,
    },
    Text {
        rdata: Text,
    },
    Soa {
        soa: Box<Soa>,
    },
    Srv {
        srv: Box<Srv>,
    },
    Sshfp {
        sshfp: Sshfp,
    },
    Opt {
        opt: Vec<EdnsOption>,
    },
    /// Empty, or nothing that can be read.
    None {},
}

/// RFC 1035 section 3.3.13; times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Soa {
    pub mname: Text,
    pub rname: Text,
    pub serial: u32,
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    pub minimum: u32,
}

/// RFC 2782.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub name: Text,
}

/// RFC 4255.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Sshfp {
    pub fingerprint: Hex,
    pub algo: u8,
    #[serde(rename = "type")]
    pub kind: u8,
}

/// RFC 6891 section 6.1.2.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EdnsOption {
    pub code: u16,
    pub data: Hex,
}

/// The header's second word, written in hexadecimal without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HexFlags(pub u16);

impl Serialize for HexFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:x}", self.0))
    }
}

impl JsonSchema for HexFlags {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HexFlags".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{1,4}$" })
    }
}

/// The answer section, written twice as EVE does: in order (`answers`) and by type (`grouped`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers(pub Vec<Record>);

impl Serialize for Answers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.0.is_empty() {
            map.serialize_entry("answers", &self.0)?;
            let grouped = Grouped(&self.0);
            if self.0.iter().any(Record::is_grouped) {
                map.serialize_entry("grouped", &grouped)?;
            }
        }
        map.end()
    }
}

impl Record {
    const fn is_grouped(&self) -> bool {
        !matches!(self.data, Rdata::None {} | Rdata::Opt { .. })
    }
}

struct Grouped<'a>(&'a [Record]);

impl Serialize for Grouped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (index, record) in self.0.iter().enumerate() {
            // Answers nearly always have one or two types, so looking back is cheap; a message
            // has at most as many types as there are numbers.
            let seen = |other: &Record| other.is_grouped() && other.rrtype == record.rrtype;
            if record.is_grouped() && !self.0.iter().take(index).any(seen) {
                map.serialize_entry(&record.rrtype, &Group(&record.rrtype, self.0))?;
            }
        }
        map.end()
    }
}

struct Group<'a>(&'a str, &'a [Record]);

impl Serialize for Group<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        for record in self.1.iter().filter(|record| record.rrtype == self.0) {
            match &record.data {
                Rdata::Address { rdata } => sequence.serialize_element(rdata)?,
                Rdata::Text { rdata } => sequence.serialize_element(rdata)?,
                Rdata::Soa { soa } => sequence.serialize_element(soa)?,
                Rdata::Srv { srv } => sequence.serialize_element(srv)?,
                Rdata::Sshfp { sshfp } => sequence.serialize_element(sshfp)?,
                Rdata::Opt { .. } | Rdata::None {} => {}
            }
        }
        sequence.end()
    }
}

impl JsonSchema for Answers {
    fn schema_name() -> Cow<'static, str> {
        "Answers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let record = generator.subschema_for::<Record>();
        let soa = generator.subschema_for::<Soa>();
        let srv = generator.subschema_for::<Srv>();
        let sshfp = generator.subschema_for::<Sshfp>();
        json_schema!({
            "type": "object",
            "properties": {
                "answers": { "type": "array", "items": record },
                "grouped": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "array",
                        "items": { "anyOf": [{ "type": "string" }, soa, srv, sshfp] }
                    }
                }
            }
        })
    }
}
