use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_redirect};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;
use sensor_ebpf::lab::{Progress, Stream, TEMPLATE_LEN};

#[map]
static STREAM: Array<Stream> = Array::with_max_entries(1, 0);

#[map]
static PROGRESS: Array<Progress> = Array::with_max_entries(1, 0);

/// A generator that fell behind by more than this does not catch up.
const PATIENCE_NS: u64 = 10_000_000;

/// Bytes of an Ethernet, an IPv4 and a TCP header.
const IPV4_LEN: usize = 14 + 20 + 20;

/// Makes one packet of the stream, writing every byte of its headers: the page still holds what
/// an earlier receiver left in it.
#[xdp]
fn lab_generate(context: XdpContext) -> u32 {
    let (Some(stream), Some(progress)) = (STREAM.get(0), PROGRESS.get_ptr_mut(0)) else {
        return XDP_ABORTED;
    };
    // SAFETY: a valid pointer into the map; one generator at a time runs on an object.
    let progress = unsafe { &mut *progress };
    if stream.interval_ns != 0 {
        // SAFETY: the helper has no arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        if now < progress.due_ns {
            progress.early += 1;
            return XDP_DROP;
        }
        let oldest = now - PATIENCE_NS;
        if progress.due_ns < oldest {
            progress.due_ns = oldest;
        }
        progress.due_ns += stream.interval_ns;
    }
    let number = progress.sent as u32;
    let flow = number.wrapping_mul(stream.step) & stream.flow_mask;
    let written = if stream.header_len as usize == IPV4_LEN {
        ipv4(&context, stream, flow, number)
    } else {
        ipv6(&context, stream, flow, number)
    };
    if written.is_none() {
        return XDP_ABORTED;
    }
    progress.sent += 1;
    // SAFETY: the helper takes plain integers.
    unsafe { bpf_redirect(stream.ifindex, 0) as u32 }
}

/// The frame's first `N` bytes.
#[inline(always)]
fn head<const N: usize>(context: &XdpContext) -> Option<&mut [u8; N]> {
    let start = context.data();
    // SAFETY: the bytes were checked, and the program alone owns the frame.
    (start + N <= context.data_end()).then(|| unsafe { &mut *(start as *mut [u8; N]) })
}

#[inline(always)]
fn ipv4(context: &XdpContext, stream: &Stream, flow: u32, number: u32) -> Option<()> {
    let frame = head::<IPV4_LEN>(context)?;
    let mut at = 0;
    while at < IPV4_LEN {
        frame[at] = stream.template[at];
        at += 1;
    }
    let id = number as u16;
    put(frame, 18, id);
    let address = low_address(frame[27], flow);
    frame[27] = address[0];
    put(frame, 28, address_low(flow));
    put(frame, 34, source_port(flow));
    put(frame, 38, (number >> 16) as u16);
    put(frame, 40, id);
    let variable = u32::from(address[1]) + u32::from(address_low(flow));
    put(
        frame,
        24,
        checksum(stream.ip_sum + variable + u32::from(id)),
    );
    let tcp =
        stream.tcp_sum + variable + u32::from(source_port(flow)) + (number >> 16) + u32::from(id);
    put(frame, 50, checksum(tcp));
    Some(())
}

#[inline(always)]
fn ipv6(context: &XdpContext, stream: &Stream, flow: u32, number: u32) -> Option<()> {
    let frame = head::<TEMPLATE_LEN>(context)?;
    let mut at = 0;
    while at < TEMPLATE_LEN {
        frame[at] = stream.template[at];
        at += 1;
    }
    let address = low_address(frame[35], flow);
    frame[35] = address[0];
    put(frame, 36, address_low(flow));
    put(frame, 54, source_port(flow));
    put(frame, 58, (number >> 16) as u16);
    put(frame, 60, number as u16);
    let tcp = stream.tcp_sum
        + u32::from(address[1])
        + u32::from(address_low(flow))
        + u32::from(source_port(flow))
        + (number >> 16)
        + (number & 0xffff);
    put(frame, 70, checksum(tcp));
    Some(())
}

/// Bit 16 of the flow goes into the second half of the word above the address's last: the byte
/// to write there, and what it adds to that word.
#[inline(always)]
fn low_address(byte: u8, flow: u32) -> [u8; 2] {
    let bit = (flow >> 16 & 1) as u8;
    [byte | bit, bit]
}

#[inline(always)]
fn address_low(flow: u32) -> u16 {
    flow as u16
}

#[inline(always)]
fn source_port(flow: u32) -> u16 {
    1024_u16.wrapping_add((flow >> 17) as u16)
}

#[inline(always)]
fn put<const N: usize>(frame: &mut [u8; N], at: usize, value: u16) {
    let [high, low] = value.to_be_bytes();
    frame[at] = high;
    frame[at + 1] = low;
}

#[inline(always)]
fn checksum(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}
