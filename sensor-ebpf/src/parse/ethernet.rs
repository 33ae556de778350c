use super::{Bytes, Headers, MAX_VLAN_TAGS, Unkeyed, ip, push_tag};
use crate::abi::{FlowKey, UnparsedReason};

const HEADER: usize = 14;
const TAG: usize = 4;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// IEEE 802.1Q, 802.1ad, and the value that Q-in-Q used before it was standardised.
#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
}

#[inline(always)]
pub(super) fn parse<B: Bytes>(bytes: B, key: &mut FlowKey) -> Result<Headers, Unkeyed> {
    let Some(header) = bytes.get::<HEADER>(0) else {
        return Err(UnparsedReason::Truncated.into());
    };
    let mut ethertype = u16::from_be_bytes([header[12], header[13]]);
    let mut offset = HEADER;
    if is_tag(ethertype) {
        for _ in 0..MAX_VLAN_TAGS {
            let Some(tag) = bytes.get::<TAG>(offset) else {
                return Err(UnparsedReason::Truncated.into());
            };
            push_tag(key, u16::from_be_bytes([tag[0], tag[1]]));
            ethertype = u16::from_be_bytes([tag[2], tag[3]]);
            offset += TAG;
            if !is_tag(ethertype) {
                break;
            }
        }
        if is_tag(ethertype) {
            return Err(UnparsedReason::VlanDepth.into());
        }
        offset = B::forget(offset);
    }
    let l4 = match ethertype {
        IPV4 => ip::v4(bytes, offset, key)?,
        IPV6 => ip::v6(bytes, offset, key)?,
        _ => return Err(Unkeyed::NonIp),
    };
    l4.finish(bytes, key)
}
