//! The third byte of an IPv4 address, or the fourth of an IPv6 address, is the VLAN id of its
//! network; 0 stands for none.

use aya_ebpf::helpers::generated::{bpf_skb_vlan_pop, bpf_skb_vlan_push};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

/// `TCX_NEXT`: go on with the next program. The same number, `TC_ACT_UNSPEC`, does so for a
/// classifier of the older kind.
const NEXT: i32 = -1;

#[classifier]
fn lab_vlan_push(context: TcContext) -> i32 {
    let network = match context.load::<u16>(12).map(u16::from_be) {
        Ok(0x0800) => context.load::<u8>(14 + 16 + 2),
        Ok(0x86dd) => context.load::<u8>(14 + 24 + 3),
        _ => return NEXT,
    };
    let Ok(id) = network else { return NEXT };
    if id == 0 {
        return NEXT;
    }
    let skb = context.skb.skb;
    // SAFETY: the context's own buffer; the helpers check the rest.
    unsafe {
        bpf_skb_vlan_push(skb, 0x8100_u16.to_be(), u16::from(id));
    }
    NEXT
}

#[classifier]
fn lab_vlan_pop(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    // SAFETY: the context's own buffer; without a tag the helper does nothing.
    unsafe {
        bpf_skb_vlan_pop(skb);
    }
    NEXT
}
