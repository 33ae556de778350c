//! In the lab's own networks (10.77.0.0/16, fd77::/16) the third byte of an IPv4 address, or the
//! fourth of an IPv6 address, is the VLAN id; 0 stands for none, as elsewhere. One of them has a
//! second tag around the first.

use aya_ebpf::helpers::generated::{bpf_skb_vlan_pop, bpf_skb_vlan_push};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use sensor_ebpf::lab::{QINQ, QINQ_OUTER};

/// `TCX_NEXT`: go on with the next program. The same number, `TC_ACT_UNSPEC`, does so for a
/// classifier of the older kind.
const NEXT: i32 = -1;

#[classifier]
fn lab_vlan_push(context: TcContext) -> i32 {
    // The destination's first four bytes.
    let start = match context.load::<u16>(12).map(u16::from_be) {
        Ok(0x0800) => context.load::<[u8; 4]>(14 + 16),
        Ok(0x86dd) => context.load::<[u8; 4]>(14 + 24),
        _ => return NEXT,
    };
    let id = match start {
        Ok([10, 77, id, _]) if id != 0 => id,
        Ok([0xfd, 0x77, 0, id]) if id != 0 => id,
        _ => return NEXT,
    };
    let skb = context.skb.skb;
    // SAFETY: the context's own buffer; the helpers check the rest.
    unsafe {
        bpf_skb_vlan_push(skb, 0x8100_u16.to_be(), u16::from(id));
        if id == QINQ {
            bpf_skb_vlan_push(skb, 0x88a8_u16.to_be(), QINQ_OUTER);
        }
    }
    NEXT
}

#[classifier]
fn lab_vlan_pop(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    // SAFETY: the context's own buffer; without a tag the helper does nothing.
    unsafe {
        bpf_skb_vlan_pop(skb);
        bpf_skb_vlan_pop(skb);
    }
    NEXT
}
