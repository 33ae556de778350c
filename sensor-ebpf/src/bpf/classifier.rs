//! The two classifiers, by TCX or clsact: of what is sent, and in passive mode of what is received.
//!
//! Both see a packet as the stack does: segmentation offload has not cut it up yet, or GRO has
//! merged it, and one VLAN tag is outside of its bytes. They count and sample, and stop nothing.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_UNSPEC},
    helpers::generated::{bpf_skb_load_bytes, bpf_skb_pull_data},
    macros::classifier,
    programs::TcContext,
};
use sensor_ebpf::{
    abi::{Direction, FlowKey, UnparsedReason},
    merged::Merged,
    parse::{self, Origin, Pointers, Unkeyed},
};

use super::{
    account::Outcome,
    run::Run,
    sample::{self, Source},
};

/// Bytes made linear where headers are not: all that the parser reads, but for absurdly long
/// IPv6 extension headers.
const PULL: u32 = 256;

/// Bytes of an IEEE 802.1Q tag.
const VLAN_TAG: u32 = 4;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Passes on to the next program or filter (`TCX_NEXT` has the same value).
#[classifier]
pub(crate) fn sensor_egress(ctx: TcContext) -> i32 {
    if let Some(()) = watch(ctx.skb.skb, Direction::Egress) {}
    TC_ACT_UNSPEC
}

/// Sees what an XDP program of somebody else lets through.
#[classifier]
pub(crate) fn sensor_ingress(ctx: TcContext) -> i32 {
    if let Some(()) = watch(ctx.skb.skb, Direction::Ingress) {}
    TC_ACT_UNSPEC
}

#[inline(always)]
fn watch(skb: *mut __sk_buff, direction: Direction) -> Option<()> {
    // SAFETY: `skb` is the running program's context; the verifier checks each field.
    let (ifindex, vlan) = unsafe {
        let vlan = ((*skb).vlan_present != 0).then(|| (*skb).vlan_tci as u16);
        ((*skb).ifindex, vlan)
    };
    // SAFETY: as above.
    let (packets, bytes) = unsafe { on_wire(skb, direction) };
    // A tag in metadata is on the wire with each segment, and in no length.
    let tags = if vlan.is_some() {
        packets * VLAN_TAG
    } else {
        0
    };
    let bytes = u64::from(bytes) + u64::from(tags);
    let mut run = Run::begin(ifindex, direction, packets.into(), bytes)?;
    let origin = Origin {
        ifindex,
        direction,
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

/// Packets and bytes that a packet was on the wire, or will be.
///
/// # Safety
///
/// `skb` is the running program's context.
#[inline(always)]
unsafe fn on_wire(skb: *mut __sk_buff, direction: Direction) -> (u32, u32) {
    // SAFETY: as the caller promises.
    unsafe {
        let merged = Merged {
            len: (*skb).len,
            segments: (*skb).gso_segs,
            segment_size: (*skb).gso_size,
        };
        if merged.segment_size == 0 {
            return (1, merged.len);
        }
        let (packets, bytes) = merged.on_wire(headers(skb).unwrap_or(0));
        match direction {
            // `wire_len` is the length of what was merged, without Ethernet header
            // (`sch_handle_ingress`).
            Direction::Ingress => (packets, bytes),
            // Here it has the headers of all segments, also those in a tunnel, if the kernel knows
            // where they are (`qdisc_pkt_len_init`); else it is the length of one packet.
            Direction::Egress => {
                let wire_len = (*skb).wire_len;
                (packets, if wire_len > bytes { wire_len } else { bytes })
            }
        }
    }
}

/// Bytes before the payload of a merged packet: Ethernet, IP, and TCP or UDP.
///
/// The parser comes too late for it, as a run counts itself first; and where its offsets were used
/// behind it, the verifier would follow each of its ways to the end of the program.
///
/// # Safety
///
/// `skb` is the running program's context.
#[inline(always)]
unsafe fn headers(skb: *mut __sk_buff) -> Option<u32> {
    // SAFETY: as the caller promises.
    unsafe {
        let mut at = 12;
        let mut ethertype = u16::from_be_bytes(load(skb, at)?);
        // The outermost tag is in metadata; GRO merges no packets with more than two.
        if ethertype == 0x8100 || ethertype == 0x88a8 {
            at += VLAN_TAG;
            ethertype = u16::from_be_bytes(load(skb, at)?);
        }
        let ip = at + 2;
        let (protocol, transport) = match ethertype {
            0x0800 => {
                let header: [u8; 12] = load(skb, ip)?;
                (header[9], ip + u32::from(header[0] & 15) * 4)
            }
            0x86dd => {
                let header: [u8; 8] = load(skb, ip)?;
                (header[6], ip + 40)
            }
            _ => return None,
        };
        let length = match protocol {
            TCP => {
                let [offset] = load(skb, transport + 12)?;
                u32::from(offset >> 4) * 4
            }
            UDP => 8,
            _ => 0,
        };
        Some(transport + length)
    }
}

/// # Safety
///
/// `skb` is the running program's context.
#[inline(always)]
unsafe fn load<const N: usize>(skb: *mut __sk_buff, at: u32) -> Option<[u8; N]> {
    let mut bytes = Aligned([0; N]);
    let to = bytes.0.as_mut_ptr();
    // SAFETY: as the caller promises; `to` has room for N bytes.
    let failed = unsafe { bpf_skb_load_bytes(skb.cast(), at, to.cast(), N as u32) };
    (failed == 0).then_some(bytes.0)
}

/// The verifier wants every access to the stack aligned.
#[repr(C, align(8))]
struct Aligned<const N: usize>([u8; N]);

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
