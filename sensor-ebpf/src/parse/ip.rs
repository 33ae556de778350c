use super::{Bytes, Fragment, Headers, MAX_EXTENSION_HEADERS, Unkeyed, transport};
use crate::{
    abi::{FlowKey, UnparsedReason, key_flags},
    verifier::hide,
};

const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;

/// RFC 791 section 3.1.
#[inline(always)]
pub(super) fn v4<B: Bytes>(bytes: B, at: usize, key: &mut FlowKey) -> Result<L4, Unkeyed> {
    let Some(header) = bytes.get::<V4_HEADER>(at) else {
        return Err(UnparsedReason::Truncated.into());
    };
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < V4_HEADER {
        return Err(UnparsedReason::BadIpv4.into());
    }
    if header_len > V4_HEADER && bytes.get::<1>(at + header_len - 1).is_none() {
        return Err(UnparsedReason::Truncated.into());
    }
    // 0 with segmentation offload beyond 64 KB (Linux 6.3, b1a78b9b9886).
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if total_len != 0 && total_len < header_len {
        return Err(UnparsedReason::BadIpv4.into());
    }
    map_into(
        [header[12], header[13], header[14], header[15]],
        &mut key.src,
    );
    map_into(
        [header[16], header[17], header[18], header[19]],
        &mut key.dst,
    );
    let place = u16::from_be_bytes([header[6], header[7]]);
    let fragment = if place & 0x3fff == 0 {
        Packed::NONE
    } else {
        Packed::of(Fragment {
            id: u16::from_be_bytes([header[4], header[5]]).into(),
            offset: (place & 0x1fff) * 8,
            more: place & 0x2000 != 0,
        })
    };
    let end = if total_len == 0 {
        usize::MAX
    } else {
        at + total_len
    };
    Ok(L4 {
        ip: at,
        at: at + header_len,
        end,
        protocol: header[9],
        fragment,
    })
}

/// Writes `::ffff:a.b.c.d` as two words, which are read as such.
#[inline(always)]
fn map_into(v4: [u8; 4], to: &mut [u8; 16]) {
    let low = u64::from(u32::from_le_bytes(v4)) << 32 | 0xffff_0000;
    to[..8].copy_from_slice(&[0; 8]);
    to[8..].copy_from_slice(&low.to_le_bytes());
}

/// RFC 8200 sections 3 and 4.
#[inline(always)]
pub(super) fn v6<B: Bytes>(bytes: B, at: usize, key: &mut FlowKey) -> Result<L4, Unkeyed> {
    let Some(header) = bytes.get::<V6_HEADER>(at) else {
        return Err(UnparsedReason::Truncated.into());
    };
    if header[0] >> 4 != 6 {
        return Err(UnparsedReason::BadIpv6.into());
    }
    key.src.copy_from_slice(&header[8..24]);
    key.dst.copy_from_slice(&header[24..40]);
    key.flags |= key_flags::IPV6;
    // 0 with a jumbo payload (RFC 2675) and with segmentation offload beyond 64 KB.
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let end = if payload_len == 0 {
        usize::MAX
    } else {
        at + V6_HEADER + payload_len
    };
    let mut l4 = L4 {
        ip: at,
        at: at + V6_HEADER,
        end,
        protocol: header[6],
        fragment: Packed::NONE,
    };
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !is_extension(l4.protocol) || l4.is_later_fragment() {
            return Ok(l4);
        }
        l4.skip_extension(bytes)?;
    }
    if is_extension(l4.protocol) && !l4.is_later_fragment() {
        return Err(UnparsedReason::ExtensionDepth.into());
    }
    Ok(l4)
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION
    )
}

/// What follows an IP header and its extensions.
pub(super) struct L4 {
    ip: usize,
    at: usize,
    end: usize,
    protocol: u8,
    fragment: Packed,
}

/// An `Option<Fragment>` in one number, of which the verifier can be made to know nothing: offset,
/// whether more follow, whether there is any, id.
#[derive(Clone, Copy)]
struct Packed(u64);

impl Packed {
    const NONE: Self = Self(0);
    const OFFSET: u64 = 0xffff;
    const MORE: u64 = 1 << 16;
    const SOME: u64 = 1 << 17;

    #[inline(always)]
    const fn of(fragment: Fragment) -> Self {
        let more = if fragment.more { Self::MORE } else { 0 };
        Self(fragment.offset as u64 | more | Self::SOME | (fragment.id as u64) << 32)
    }

    #[inline(always)]
    const fn get(self) -> Option<Fragment> {
        if self.0 == 0 {
            return None;
        }
        Some(Fragment {
            id: (self.0 >> 32) as u32,
            offset: self.0 as u16,
            more: self.0 & Self::MORE != 0,
        })
    }
}

impl L4 {
    /// What follows is the rest of something, and no header.
    #[inline(always)]
    const fn is_later_fragment(&self) -> bool {
        self.fragment.0 & Packed::OFFSET != 0
    }

    #[inline(always)]
    fn skip_extension<B: Bytes>(&mut self, bytes: B) -> Result<(), Unkeyed> {
        let Some(header) = bytes.get::<8>(self.at) else {
            return Err(UnparsedReason::Truncated.into());
        };
        // RFC 4302 section 2.2 counts in words of 4 bytes, the others in 8 (RFC 8200 section 4).
        let len = match self.protocol {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        self.at = B::forget(self.at + len);
        if bytes.get::<1>(self.at - 1).is_none() {
            return Err(UnparsedReason::Truncated.into());
        }
        let place = u16::from_be_bytes([header[2], header[3]]);
        // An atomic fragment (RFC 6946) is a whole packet.
        if self.protocol == FRAGMENT && place & 0xfff9 != 0 {
            self.fragment = Packed::of(Fragment {
                id: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
                offset: place & 0xfff8,
                more: place & 1 != 0,
            });
        }
        // With it known, each combination of headers would be walked through from here on.
        self.fragment = Packed(hide(self.fragment.0));
        self.protocol = header[0];
        Ok(())
    }

    /// Reads what the key needs of the transport.
    #[inline(always)]
    pub(super) fn finish<B: Bytes>(self, bytes: B, key: &mut FlowKey) -> Result<Headers, Unkeyed> {
        key.protocol = self.protocol;
        let mut headers = Headers {
            ip: self.ip,
            transport: self.at,
            payload: self.at,
            end: self.end,
            tcp_flags: 0,
            fragment: self.fragment.get(),
        };
        if self.is_later_fragment() {
            key.flags |= key_flags::FRAGMENT;
            key.src_port = 0;
            key.dst_port = 0;
            return Ok(headers);
        }
        transport::parse(bytes, &mut headers, key)?;
        Ok(headers)
    }
}
