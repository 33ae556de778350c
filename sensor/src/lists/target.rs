//! What a list entry names: an address, a prefix or a port.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use sensor_ebpf::abi::{FilterPrefix, ListPort};
use serde::{Deserialize, Serialize};

/// First 96 bits of an IPv4 address as flow keys hold it.
const MAPPED: u128 = 0xffff << 32;
const MAPPED_BITS: u8 = 96;

/// Addresses with the same first bits. The order is that of a walk through the tree: a prefix
/// comes before all that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// IPv4 as `::ffff:a.b.c.d`, as in flow keys; zero beyond `len`.
    address: u128,
    /// Bits that count: an IPv4 prefix has 96 more than it is written with.
    len: u8,
}

impl Prefix {
    /// All IPv4 addresses, as flow keys hold them.
    pub(super) const V4: Self = Self {
        address: MAPPED,
        len: MAPPED_BITS,
    };

    /// The prefix of `len` bits (0 to 32, or 0 to 128) that holds `address`.
    #[must_use]
    pub fn new(address: IpAddr, len: u8) -> Self {
        let (address, len) = match address.to_canonical() {
            IpAddr::V4(v4) if address.is_ipv4() => (v4.to_ipv6_mapped(), len.min(32) + MAPPED_BITS),
            // `::ffff:192.0.2.0/120` means IPv4.
            IpAddr::V4(v4) if len >= MAPPED_BITS => (v4.to_ipv6_mapped(), len.min(128)),
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), len),
            IpAddr::V6(v6) => (v6, len.min(128)),
        };
        let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
        Self {
            address: u128::from(address) & mask,
            len,
        }
    }

    /// Whether it names IPv4 addresses.
    #[must_use]
    pub const fn is_v4(self) -> bool {
        self.len >= MAPPED_BITS && self.address >> 32 == MAPPED >> 32
    }

    /// Whether it names one address.
    #[must_use]
    pub const fn is_address(self) -> bool {
        self.len == 128
    }

    /// Whether every address of `other` is one of its own. An IPv6 prefix covers no IPv4 address.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        if self.is_v4() != other.is_v4() {
            return false;
        }
        self.spans(other)
    }

    /// [`covers`](Self::covers) by bits alone, as the kernel's tree sees it.
    pub(super) const fn spans(self, other: Self) -> bool {
        self.len <= other.len
            && (self.len == 0 || (self.address ^ other.address) >> (128 - self.len) == 0)
    }

    /// Its first address, as a number; IPv4 mapped.
    pub(super) const fn first(self) -> u128 {
        self.address
    }

    /// Bits that count; IPv4 with 96 more.
    pub(super) const fn bits(self) -> u8 {
        self.len
    }

    /// What the kernel's maps hold.
    pub(crate) const fn from_kernel(prefix: FilterPrefix) -> Self {
        Self {
            address: u128::from_be_bytes(prefix.address),
            len: if prefix.prefix_len > 128 {
                128
            } else {
                prefix.prefix_len as u8
            },
        }
    }

    /// As the kernel's maps take it.
    pub(crate) const fn to_kernel(self) -> FilterPrefix {
        FilterPrefix {
            prefix_len: self.len as u32,
            address: self.address.to_be_bytes(),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, len, full) = if self.is_v4() {
            let v4 = Ipv4Addr::from((self.address & 0xffff_ffff) as u32);
            (IpAddr::V4(v4), self.len - MAPPED_BITS, 32)
        } else {
            (Ipv6Addr::from(self.address).into(), self.len, 128)
        };
        if len == full {
            write!(f, "{address}")
        } else {
            write!(f, "{address}/{len}")
        }
    }
}

/// What an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// Packets from these addresses.
    Net(Prefix),
    /// Packets to this port.
    Port(ListPort),
}

/// Why a text names nothing that can be listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error(
        "`{0}` is neither an address (192.0.2.1), nor a prefix (2001:db8::/32), nor a port (tcp/22)"
    )]
    Unknown(String),
    #[error("`{given}` has bits beyond its prefix length: {meant} is the prefix that holds it")]
    HostBits { given: String, meant: Prefix },
}

const PROTOCOLS: [(&str, u16); 3] = [("tcp", 6), ("udp", 17), ("sctp", 132)];

impl Target {
    pub(super) const fn is_port(self) -> bool {
        matches!(self, Self::Port(_))
    }

    /// Reads an address, a prefix, or a port as `tcp/22`. Bits beyond a prefix's length are cut
    /// off: where a person writes, [`from_str`](FromStr::from_str) refuses them.
    pub(super) fn parse_lenient(text: &str) -> Result<Self, TargetError> {
        match text.parse() {
            Err(TargetError::HostBits { meant, .. }) => Ok(Self::Net(meant)),
            other => other,
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let unknown = || TargetError::Unknown(text.to_owned());
        let Some((left, right)) = text.split_once('/') else {
            let address: IpAddr = text.parse().map_err(|_| unknown())?;
            let full = if address.is_ipv4() { 32 } else { 128 };
            return Ok(Self::Net(Prefix::new(address, full)));
        };
        if let Some((_, protocol)) = PROTOCOLS
            .iter()
            .find(|(name, _)| left.eq_ignore_ascii_case(name))
        {
            let port = right.parse().map_err(|_| unknown())?;
            return Ok(Self::Port(ListPort {
                port,
                protocol: *protocol,
            }));
        }
        let address: IpAddr = left.parse().map_err(|_| unknown())?;
        let len: u8 = right.parse().map_err(|_| unknown())?;
        let full = if address.is_ipv4() { 32 } else { 128 };
        if len > full {
            return Err(unknown());
        }
        let prefix = Prefix::new(address, len);
        if prefix.address != Prefix::new(address, full).address {
            return Err(TargetError::HostBits {
                given: text.to_owned(),
                meant: prefix,
            });
        }
        Ok(Self::Net(prefix))
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(prefix) => prefix.fmt(f),
            Self::Port(ListPort { port, protocol }) => {
                let named = PROTOCOLS.iter().find(|(_, number)| number == protocol);
                match named {
                    Some((name, _)) => write!(f, "{name}/{port}"),
                    None => write!(f, "{protocol}/{port}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        match text.parse() {
            Ok(Target::Net(prefix)) => prefix,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_is_read_is_written_the_same_way() {
        for text in [
            "192.0.2.1",
            "192.0.2.0/24",
            "0.0.0.0/0",
            "2001:db8::1",
            "2001:db8::/32",
            "::/0",
            "tcp/22",
            "udp/53",
            "sctp/9",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!(prefix("::ffff:192.0.2.1"), prefix("192.0.2.1"));
        assert_eq!(prefix("::ffff:192.0.2.0/120"), prefix("192.0.2.0/24"));
        assert_eq!(prefix("192.0.2.1/32"), prefix("192.0.2.1"));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in [
            "",
            "eth0",
            "192.0.2",
            "192.0.2.0/33",
            "2001:db8::/129",
            "tcp/65536",
            "tcp/",
            "icmp/8",
            "192.0.2.0/-1",
            "192.0.2.0/",
        ] {
            assert!(
                matches!(text.parse::<Target>(), Err(TargetError::Unknown(_))),
                "{text}"
            );
        }
        let error = "10.0.0.1/8".parse::<Target>().unwrap_err();
        assert!(error.to_string().contains("10.0.0.0/8"), "{error}");
        assert_eq!(
            Target::parse_lenient("10.0.0.1/8"),
            Ok(Target::Net(prefix("10.0.0.0/8")))
        );
    }

    #[test]
    fn a_prefix_covers_what_lies_in_it_and_comes_first() {
        let nested = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3"];
        for (at, outer) in nested.iter().enumerate() {
            for inner in &nested[at..] {
                assert!(prefix(outer).covers(prefix(inner)));
                assert!(outer == inner || !prefix(inner).covers(prefix(outer)));
                assert!(prefix(outer) <= prefix(inner));
            }
        }
        assert!(!prefix("10.0.0.0/8").covers(prefix("11.0.0.0/16")));
        assert!(prefix("::/0").covers(prefix("2001:db8::1")));
        assert!(prefix("0.0.0.0/0").covers(prefix("255.255.255.255")));
    }

    #[test]
    fn families_never_cover_each_other() {
        for v6 in ["::/0", "::/64", "::/80"] {
            assert!(!prefix(v6).covers(prefix("192.0.2.1")), "{v6}");
            assert!(prefix(v6).spans(prefix("192.0.2.1")), "{v6}");
        }
        assert!(!prefix("0.0.0.0/0").covers(prefix("2001:db8::1")));
    }
}
