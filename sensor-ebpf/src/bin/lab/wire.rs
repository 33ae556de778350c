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

/// By the last byte of the destination's MAC address. Answers to the addresses that the
/// generator invents (RFC 2544's and RFC 5180's ranges for benchmarks) end here, lest the
/// attacker's stack burn the processor that the victim needs.
#[xdp]
fn lab_from_server(context: XdpContext) -> u32 {
    let (start, end) = (context.data(), context.data_end());
    if start + 34 > end {
        return XDP_DROP;
    }
    let frame = start as *const u8;
    // SAFETY: 34 bytes were checked.
    let byte = |at: usize| unsafe { *frame.add(at) };
    match [byte(12), byte(13)] {
        [0x08, 0x00] if byte(30) == 198 && byte(31) & 0xfe == 18 => return XDP_DROP,
        [0x86, 0xdd] => {
            if start + 54 > end {
                return XDP_DROP;
            }
            // SAFETY: 54 bytes were checked.
            let prefix = [38, 39, 40, 41, 42, 43].map(|at| unsafe { *frame.add(at) });
            if prefix == [0x20, 0x01, 0x00, 0x02, 0, 0] {
                return XDP_DROP;
            }
        }
        _ => {}
    }
    match byte(5) {
        1 => redirect(Port::Client),
        3 => redirect(Port::Attacker),
        _ => XDP_DROP,
    }
}

#[xdp]
fn lab_drop(_context: XdpContext) -> u32 {
    XDP_DROP
}

#[xdp(frags)]
fn lab_pass(_context: XdpContext) -> u32 {
    XDP_PASS
}
