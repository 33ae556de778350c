//! Addresses and IP protocols as EVE writes them.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::text::DIGITS;

/// An IP address. IPv6 is written in full (`2001:0db8:0000:...`), as EVE does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub IpAddr);

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self(address)
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self(address.into())
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Self(address.into())
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 39];
        let length = match self.0 {
            IpAddr::V4(address) => dotted(&mut text, address.octets()),
            IpAddr::V6(address) => coloned(&mut text, address.octets()),
        };
        let text = text.get(..length).unwrap_or_default();
        serializer.serialize_str(std::str::from_utf8(text).unwrap_or_default())
    }
}

fn dotted(text: &mut [u8; 39], octets: [u8; 4]) -> usize {
    let mut length = 0;
    for (index, octet) in octets.into_iter().enumerate() {
        if index > 0 {
            text[length] = b'.';
            length += 1;
        }
        for (divisor, needed) in [(100, octet >= 100), (10, octet >= 10), (1, true)] {
            if needed {
                text[length] = b'0' + octet / divisor % 10;
                length += 1;
            }
        }
    }
    length
}

fn coloned(text: &mut [u8; 39], octets: [u8; 16]) -> usize {
    let mut length = 0;
    for (index, octet) in octets.into_iter().enumerate() {
        if index > 0 && index % 2 == 0 {
            text[length] = b':';
            length += 1;
        }
        text[length] = DIGITS[usize::from(octet >> 4)];
        text[length + 1] = DIGITS[usize::from(octet & 15)];
        length += 2;
    }
    length
}

impl JsonSchema for Address {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^(\d{1,3}(\.\d{1,3}){3}|[0-9a-f]{4}(:[0-9a-f]{4}){7})$"
        })
    }
}

/// An IP protocol by IANA's number, written by its name, or as three digits if it has none here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proto(pub u8);

impl Proto {
    /// IANA's keyword; `None` for numbers that are rarely met.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "HOPOPT",
            1 => "ICMP",
            2 => "IGMP",
            4 => "IPv4",
            6 => "TCP",
            8 => "EGP",
            9 => "IGP",
            17 => "UDP",
            33 => "DCCP",
            41 => "IPv6",
            43 => "IPv6-Route",
            44 => "IPv6-Frag",
            46 => "RSVP",
            47 => "GRE",
            50 => "ESP",
            51 => "AH",
            58 => "IPv6-ICMP",
            59 => "IPv6-NoNxt",
            60 => "IPv6-Opts",
            88 => "EIGRP",
            89 => "OSPFIGP",
            94 => "IPIP",
            97 => "ETHERIP",
            103 => "PIM",
            108 => "IPComp",
            112 => "VRRP",
            115 => "L2TP",
            132 => "SCTP",
            136 => "UDPLite",
            137 => "MPLS-in-IP",
            _ => return None,
        })
    }
}

impl Serialize for Proto {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(name) = self.name() {
            return serializer.serialize_str(name);
        }
        let text = [
            b'0' + self.0 / 100,
            b'0' + self.0 / 10 % 10,
            b'0' + self.0 % 10,
        ];
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl JsonSchema for Proto {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Proto".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}
