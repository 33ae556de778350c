use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::generated::bpf_redirect;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;
use sensor_ebpf::lab::Port;

#[map]
static PORTS: Array<u32> = Array::with_max_entries(3, 0);

fn redirect(port: Port) -> u32 {
    match PORTS.get(port as u32) {
        // SAFETY: the helper takes plain integers.
        Some(ifindex) => unsafe { bpf_redirect(*ifindex, 0) as u32 },
        None => XDP_DROP,
    }
}

/// Frames to groups end here (neighbours are configured): what the hosts report of their IPv6
/// groups at a time of their own would disturb exact counts.
#[xdp]
fn lab_to_server(context: XdpContext) -> u32 {
    let (start, end) = (context.data(), context.data_end());
    if start + 14 > end {
        return XDP_DROP;
    }
    // SAFETY: 14 bytes were checked.
    if unsafe { *(start as *const u8) } & 1 != 0 {
        return XDP_DROP;
    }
    redirect(Port::Server)
}

/// By the last byte of the destination's MAC address. Answers to the senders that the generator
/// invents, all behind one MAC address of their own, end here, lest the attacker's stack burn the processor
/// that the victim needs.
#[xdp]
fn lab_from_server(context: XdpContext) -> u32 {
    let (start, end) = (context.data(), context.data_end());
    if start + 14 > end {
        return XDP_DROP;
    }
    // SAFETY: 14 bytes were checked.
    match unsafe { *(start as *const u8).add(5) } {
        1 => redirect(Port::Client),
        3 => redirect(Port::Attacker),
        // The invented ones, and groups.
        _ => XDP_DROP,
    }
}

/// Drops what comes from outside the lab's own networks (10.0.0.0/8, fd00::/8): the least that a
/// program which knows the attacker can do.
#[xdp]
fn lab_drop_attack(context: XdpContext) -> u32 {
    let (start, end) = (context.data(), context.data_end());
    if start + 34 > end {
        return XDP_PASS;
    }
    let frame = start as *const u8;
    // SAFETY: 34 bytes were checked.
    let byte = |at: usize| unsafe { *frame.add(at) };
    let own = match [byte(12), byte(13)] {
        [0x08, 0x00] => byte(26) == 10,
        [0x86, 0xdd] => byte(22) == 0xfd,
        _ => true,
    };
    if own { XDP_PASS } else { XDP_DROP }
}

#[xdp]
fn lab_drop(_context: XdpContext) -> u32 {
    XDP_DROP
}

#[xdp(frags)]
fn lab_pass(_context: XdpContext) -> u32 {
    XDP_PASS
}
