//! What the allow and block lists make of a packet: pure decisions, made in the kernel.

pub mod index;

use crate::abi::{DropReason, FlowKey, ListEntry, ListPort, key_flags, list_flags};

/// What becomes of a packet, as far as the lists are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing blocks it, and nothing will before the lists change.
    Pass {
        /// An allow entry says so.
        allowed: bool,
    },
    /// It would be blocked, and an allow entry saves it: counted in that entry's hits.
    Spared { hits: u32 },
    /// It is blocked.
    Block { reason: DropReason, hits: u32 },
    /// It passes, and is counted as if it were blocked.
    DryRun { reason: DropReason, hits: u32 },
}

/// Decides by the entries that match a packet: that of its source (the most specific one) and
/// that of its destination port.
#[must_use]
#[inline(always)]
pub fn decide(source: Option<&ListEntry>, port: Option<&ListEntry>, now_ns: u64) -> Decision {
    let block = match (source, port) {
        (Some(source), _) if source.block_until_ns > now_ns => {
            let reason = by_source(source.flags & list_flags::BLOCKS_PREFIX);
            Some((reason, source.block_hits))
        }
        (_, Some(port)) if port.block_until_ns > now_ns => {
            Some((DropReason::BlockPort, port.block_hits))
        }
        _ => None,
    };
    let dry = match (source, port) {
        (Some(source), _) if source.dry_until_ns > now_ns => {
            let reason = by_source(source.flags & list_flags::DRY_PREFIX);
            Some((reason, source.dry_hits))
        }
        (_, Some(port)) if port.dry_until_ns > now_ns => {
            Some((DropReason::BlockPort, port.dry_hits))
        }
        _ => None,
    };
    let allow = match (source, port) {
        (Some(source), _) if source.allow_until_ns > now_ns => Some(source.allow_hits),
        (_, Some(port)) if port.allow_until_ns > now_ns => Some(port.allow_hits),
        _ => None,
    };
    match (allow, block, dry) {
        (allow, None, None) => Decision::Pass {
            allowed: allow.is_some(),
        },
        (Some(hits), _, _) => Decision::Spared { hits },
        (None, Some((reason, hits)), _) => Decision::Block { reason, hits },
        (None, None, Some((reason, hits))) => Decision::DryRun { reason, hits },
    }
}

#[inline(always)]
const fn by_source(is_prefix: u32) -> DropReason {
    if is_prefix == 0 {
        DropReason::BlockAddress
    } else {
        DropReason::BlockPrefix
    }
}

/// The mark of an address's entry in `LIST_EXACT`, see [`ListEntry::owner`].
#[must_use]
#[inline(always)]
pub const fn owner(address: &[u8; 16]) -> u64 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    let high = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let low = u64::from_be_bytes([i, j, k, l, m, n, o, p]);
    high.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ low
}

/// The mark of a port's entry in `LIST_PORTS`, see [`ListEntry::owner`].
#[must_use]
#[inline(always)]
pub const fn port_owner(port: ListPort) -> u64 {
    (port.protocol as u64) << 16 | port.port as u64
}

/// Whether a packet is neighbour discovery (RFC 4861, section 4: router and neighbour
/// solicitation, advertisement, redirect), which no list stops: without it the host loses its
/// own network. The fragments of such messages are dropped by receivers (RFC 6980).
#[must_use]
#[inline(always)]
pub const fn is_neighbour_discovery(key: &FlowKey) -> bool {
    const ICMPV6: u8 = 58;
    key.protocol == ICMPV6
        && key.flags & key_flags::FRAGMENT == 0
        && matches!(key.src_port, 133..=137)
}

#[cfg(test)]
mod tests;
