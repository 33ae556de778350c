//! The one parser that makes flow keys, in the kernel and in user space alike.
//!
//! It reads no further than the transport header's fixed part. Everything above it, and every
//! detail that is not in the key, is left to dissectors.
//!
//! A frame yields a key and the offsets of its headers, or is not IP, or is given up for a
//! reason. Ports are never guessed: fragments other than the first have none.

mod bytes;
mod ethernet;
mod ip;
mod transport;

pub use bytes::Bytes;
#[cfg(target_arch = "bpf")]
pub use bytes::Pointers;

use crate::abi::{Direction, FlowKey, UnparsedReason};

/// VLAN tags that are followed; a frame with more is given up.
pub const MAX_VLAN_TAGS: usize = 4;

/// IPv6 extension headers that are followed; a packet with more is given up.
pub const MAX_EXTENSION_HEADERS: usize = 6;

/// What is known of a frame before its first byte is read.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The device's index; 0 for frames of a capture file.
    pub ifindex: u32,
    pub direction: Direction,
    /// TCI of a tag that a device took out of the bytes: it is outside of all tags within.
    pub vlan: Option<u16>,
}

impl Origin {
    /// Of a frame from a capture file.
    pub const CAPTURE: Self = Self {
        ifindex: 0,
        direction: Direction::Ingress,
        vlan: None,
    };
}

/// Where the headers of a packet are, as offsets from the frame's first byte, and what of them
/// is counted but not in the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Of the IP header.
    pub ip: usize,
    /// Of what follows the IP header and its extensions.
    pub transport: usize,
    /// Of the transport's payload; equal to `transport` where the parser knows no header, as for
    /// fragments. May lie beyond the captured bytes, and beyond `end` where the packet lies.
    pub payload: usize,
    /// Where the packet ends according to its IP header; what follows in the frame is padding.
    /// `usize::MAX` if the header does not tell (lengths of 0 at segmentation offload).
    pub end: usize,
    /// TCP flags, the header's 13th byte; 0 for other protocols.
    pub tcp_flags: u8,
    pub fragment: Option<Fragment>,
}

/// A fragment's place in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// IPv4's 16 or IPv6's 32 bits.
    pub id: u32,
    /// In bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

/// Why a frame has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unkeyed {
    /// Neither IPv4 nor IPv6, by its ethertype or IP version.
    NonIp,
    /// IP, or perhaps IP, which the parser gave up.
    Unparsed(UnparsedReason),
}

impl From<UnparsedReason> for Unkeyed {
    #[inline(always)]
    fn from(reason: UnparsedReason) -> Self {
        Self::Unparsed(reason)
    }
}

/// Parses a frame that starts with an Ethernet header.
///
/// # Errors
///
/// Why the frame has no key.
pub fn ethernet(frame: &[u8], origin: Origin) -> Result<(FlowKey, Headers), Unkeyed> {
    let mut key = FlowKey::default();
    let headers = ethernet_into(frame, origin, &mut key)?;
    Ok((key, headers))
}

/// Parses a packet that starts with an IP header at `offset`, the version told by its first
/// four bits. VLAN ids, outermost first, are those that a link header told; a third and later
/// ones are not part of a key.
///
/// # Errors
///
/// Why the packet has no key.
pub fn ip(
    frame: &[u8],
    offset: usize,
    origin: Origin,
    vlan_tcis: &[u16],
) -> Result<(FlowKey, Headers), Unkeyed> {
    let mut key = FlowKey::default();
    start_key(origin, &mut key);
    for tci in vlan_tcis {
        push_tag(&mut key, *tci);
    }
    let l4 = match frame.get(offset).map(|byte| byte >> 4) {
        Some(4) => ip::v4(frame, offset, &mut key)?,
        Some(6) => ip::v6(frame, offset, &mut key)?,
        Some(_) => return Err(Unkeyed::NonIp),
        None => return Err(UnparsedReason::Truncated.into()),
    };
    let headers = l4.finish(frame, &mut key)?;
    Ok((key, headers))
}

/// [`ethernet`] over any kind of bytes, into a key whose old value does not matter. Where it
/// fails, the key's value has no meaning.
///
/// # Errors
///
/// Why the frame has no key.
#[inline(always)]
pub fn ethernet_into<B: Bytes>(
    bytes: B,
    origin: Origin,
    key: &mut FlowKey,
) -> Result<Headers, Unkeyed> {
    start_key(origin, key);
    ethernet::parse(bytes, key)
}

#[inline(always)]
fn start_key(origin: Origin, key: &mut FlowKey) {
    key.ifindex = origin.ifindex;
    key.direction = origin.direction as u8;
    key.flags = 0;
    key.vlan = [0; 2];
    if let Some(tci) = origin.vlan {
        push_tag(key, tci);
    }
}

/// Notes one more tag, from the outside in.
#[inline(always)]
fn push_tag(key: &mut FlowKey, tci: u16) {
    use crate::abi::key_flags::{QINQ, VLAN};
    let id = tci & 0x0fff;
    if key.flags & VLAN == 0 {
        key.flags |= VLAN;
        key.vlan[0] = id;
    } else if key.flags & QINQ == 0 {
        key.flags |= QINQ;
        key.vlan[1] = id;
    }
}

#[cfg(test)]
mod tests;
