//! The index: a bitmap that says for most packets, by one load, that no list knows their source
//! or port. Where a bit is set the lists may know it, and are asked.
//!
//! Two bits a slot. An IPv4 address has the slot of its /24, an IPv6 address the one that its
//! first 32 bits are hashed to, a port one of its own. User space sets a bit before it adds an
//! entry, and clears it after it has deleted the last one that needs it.

use crate::abi::{FlowKey, key_flags};

/// In `LIST_EXACT` there is an address of this slot.
pub const EXACT: u64 = 1;
/// A prefix in `LIST_PREFIXES` overlaps this slot; of a port: it is in `LIST_PORTS`.
pub const PREFIX: u64 = 2;

const V4_SLOTS: u32 = 1 << 24;
const V6_SLOTS_LOG2: u32 = 22;
const V6_SLOTS: u32 = 1 << V6_SLOTS_LOG2;
const PORTS: u32 = 1 << 16;
/// TCP, UDP, SCTP.
const PORT_PROTOCOLS: u32 = 3;
const FIRST_PORT: u32 = V4_SLOTS + V6_SLOTS;

const SLOTS: u32 = FIRST_PORT + PORT_PROTOCOLS * PORTS;
const SLOTS_PER_WORD: u32 = 32;

/// Words of `LIST_INDEX`.
pub const WORDS: usize = (SLOTS / SLOTS_PER_WORD) as usize;

/// Two bits of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    /// Of an IPv4 address by its first 24 bits.
    #[must_use]
    #[inline(always)]
    pub const fn v4(net: u32) -> Self {
        Self(net & (V4_SLOTS - 1))
    }

    /// Of an IPv6 address by its first 32 bits, scattered by a multiple of the golden ratio.
    #[must_use]
    #[inline(always)]
    pub const fn v6(net: u32) -> Self {
        Self(V4_SLOTS + (net.wrapping_mul(0x9e37_79b1) >> (32 - V6_SLOTS_LOG2)))
    }

    /// Of a port; `None` for a protocol whose ports cannot be listed.
    #[must_use]
    #[inline(always)]
    pub const fn port(protocol: u8, port: u16) -> Option<Self> {
        let row = match protocol {
            6 => 0,
            17 => 1,
            132 => 2,
            _ => return None,
        };
        Some(Self(FIRST_PORT + row * PORTS + port as u32))
    }

    /// Of a packet's source.
    #[must_use]
    #[inline(always)]
    pub const fn source(key: &FlowKey) -> Self {
        let [a, b, c, d, ..] = key.src;
        let [.., e, f, g, _] = key.src;
        if key.flags & key_flags::IPV6 != 0 {
            Self::v6(u32::from_be_bytes([a, b, c, d]))
        } else {
            Self::v4(u32::from_be_bytes([0, e, f, g]))
        }
    }

    /// Of a packet's destination port, which only the first fragment shows.
    #[must_use]
    #[inline(always)]
    pub const fn destination_port(key: &FlowKey) -> Option<Self> {
        if key.flags & key_flags::FRAGMENT != 0 {
            return None;
        }
        Self::port(key.protocol, key.dst_port)
    }

    /// Index of the word that holds the slot.
    #[must_use]
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.0 / SLOTS_PER_WORD
    }

    /// How far its bits are shifted in that word.
    #[must_use]
    #[inline(always)]
    pub const fn shift(self) -> u32 {
        self.0 % SLOTS_PER_WORD * 2
    }
}

/// Slots of all IPv6 addresses: for prefixes that cover most of them.
pub fn all_v6() -> impl Iterator<Item = Slot> {
    (V4_SLOTS..FIRST_PORT).map(Slot)
}
