//! Ingress: XDP.

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    macros::xdp,
    programs::XdpContext,
};
use sensor_ebpf::{
    abi::{Direction, DropReason, FlowKey, mode},
    parse::{self, Origin, Pointers},
};

use super::{
    account::Outcome,
    guard::{self, Frame},
    run::Run,
    sample::{self, Source},
};

/// Devices and kernels with multi-buffer XDP (5.18).
#[xdp(frags)]
pub(crate) fn sensor_xdp(ctx: XdpContext) -> u32 {
    // SAFETY: the context is that of the running program.
    let len = unsafe { bpf_xdp_get_buff_len(ctx.ctx) };
    ingress(&ctx, len)
}

/// Devices without: the linear part is the frame.
#[xdp]
pub(crate) fn sensor_xdp_linear(ctx: XdpContext) -> u32 {
    let len = ctx.data_end() - ctx.data();
    ingress(&ctx, len as u64)
}

#[inline(always)]
fn ingress(ctx: &XdpContext, bytes: u64) -> u32 {
    let ifindex = ctx.ingress_ifindex() as u32;
    let Some(mut run) = Run::begin(ifindex, Direction::Ingress, 1, bytes) else {
        return XDP_PASS;
    };
    // SAFETY: nothing moves the packet while it is parsed.
    let packet = unsafe { Pointers::new(ctx.data(), ctx.data_end()) };
    let origin = Origin {
        ifindex,
        direction: Direction::Ingress,
        vlan: None,
    };
    let mut key = FlowKey::default();
    let parsed = parse::ethernet_into(packet, origin, &mut key);
    let frame = Frame { ctx, len: bytes };
    if let Ok(headers) = &parsed
        && guard::wants(&run, headers.tcp_flags)
        && let Some(action) = guard::syn(&mut run, &key, headers, &frame)
    {
        return action;
    }
    let wanted = match run.account(&key, parsed, Some(&frame)) {
        Outcome::Pass(wanted) => wanted,
        Outcome::Drop => return XDP_DROP,
    };
    if let Some(wanted) = wanted {
        let len = bytes as u32;
        sample::take(&mut run, &key, wanted, &XdpSource { ctx, len });
    }
    if run.settings.mode & (mode::TAP | mode::PASS_ALL) == mode::TAP {
        run.dropped(DropReason::Tap);
        return XDP_DROP;
    }
    XDP_PASS
}

struct XdpSource<'a> {
    ctx: &'a XdpContext,
    len: u32,
}

impl Source for XdpSource<'_> {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.len
    }

    #[inline(always)]
    unsafe fn copy(&self, to: *mut u8, len: u32) -> bool {
        // SAFETY: as the caller promises.
        unsafe { bpf_xdp_load_bytes(self.ctx.as_ptr().cast(), 0, to.cast(), len) == 0 }
    }

    #[inline(always)]
    fn vlan(&self) -> (u16, u16) {
        (0, 0)
    }
}
