//! Egress: a classifier, by TCX or clsact. It sees a packet before segmentation offload has cut
//! it up, and before a device has put its VLAN tag into the bytes.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_UNSPEC},
    helpers::generated::{bpf_skb_load_bytes, bpf_skb_pull_data},
    macros::classifier,
    programs::TcContext,
};
use sensor_ebpf::{
    abi::{Direction, FlowKey, UnparsedReason},
    parse::{self, Origin, Pointers, Unkeyed},
};

use super::{
    run::{Outcome, Run},
    sample::{self, Source},
};

/// Bytes made linear where headers are not: all that the parser reads, but for absurdly long
/// IPv6 extension headers.
const PULL: u32 = 256;

/// Bytes of an IEEE 802.1Q tag.
const VLAN_TAG: u32 = 4;

/// Passes on to the next program or filter (`TCX_NEXT` has the same value).
#[classifier]
pub(crate) fn sensor_egress(ctx: TcContext) -> i32 {
    if let Some(()) = egress(ctx.skb.skb) {}
    TC_ACT_UNSPEC
}

#[inline(always)]
fn egress(skb: *mut __sk_buff) -> Option<()> {
    // SAFETY: `skb` is the running program's context; the verifier checks each field.
    let (ifindex, segments, wire_len, vlan) = unsafe {
        let vlan = ((*skb).vlan_present != 0).then(|| (*skb).vlan_tci as u16);
        ((*skb).ifindex, (*skb).gso_segs, (*skb).wire_len, vlan)
    };
    let packets = if segments == 0 { 1 } else { segments };
    // A tag in metadata will be on the wire of each segment, and is in no length yet.
    let tags = if vlan.is_some() {
        packets * VLAN_TAG
    } else {
        0
    };
    let bytes = u64::from(wire_len) + u64::from(tags);
    let mut run = Run::begin(ifindex, Direction::Egress, packets.into(), bytes)?;
    let origin = Origin {
        ifindex,
        direction: Direction::Egress,
        vlan,
    };
    let mut key = FlowKey::default();
    // SAFETY: nothing moves the packet while it is parsed.
    let mut parsed = unsafe {
        let packet = Pointers::new((*skb).data as usize, (*skb).data_end as usize);
        parse::ethernet_into(packet, origin, &mut key)
    };
    if parsed == Err(Unkeyed::Unparsed(UnparsedReason::Truncated)) {
        // SAFETY: pointers into the packet are read again afterwards.
        unsafe {
            let len = (*skb).len;
            bpf_skb_pull_data(skb, if len < PULL { len } else { PULL });
            let packet = Pointers::new((*skb).data as usize, (*skb).data_end as usize);
            parsed = parse::ethernet_into(packet, origin, &mut key);
        }
    }
    let Outcome::Pass(Some(wanted)) = run.account(&key, parsed, None) else {
        return Some(());
    };
    // SAFETY: as above.
    let len = unsafe { (*skb).len };
    sample::take(&mut run, &key, wanted, &SkbSource { skb, len });
    Some(())
}

struct SkbSource {
    skb: *mut __sk_buff,
    len: u32,
}

impl Source for SkbSource {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.len
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, len: u32) -> bool {
        // SAFETY: as the caller promises.
        unsafe { bpf_skb_load_bytes(self.skb.cast(), 0, to.cast(), len) == 0 }
    }

    #[inline(always)]
    fn vlan(&self) -> (u16, u16) {
        // SAFETY: `skb` is the running program's context.
        unsafe {
            if (*self.skb).vlan_present == 0 {
                return (0, 0);
            }
            (
                (*self.skb).vlan_tci as u16,
                ((*self.skb).vlan_proto as u16).to_be(),
            )
        }
    }
}
