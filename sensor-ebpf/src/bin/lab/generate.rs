use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_redirect};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;
use sensor_ebpf::lab::{
    ETHERNET_LEN, EVERYWHERE_BITS, IPV4_LEN, IPV4_SYN_LEN, IPV6_LEN, IPV6_SYN_LEN, Progress,
    Stream, TAGGED_LEN,
};

#[map]
static STREAM: Array<Stream> = Array::with_max_entries(1, 0);

#[map]
static PROGRESS: Array<Progress> = Array::with_max_entries(1, 0);

/// A generator that fell behind by more than this does not catch up.
const PATIENCE_NS: u64 = 10_000_000;

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
    let variant = Variant::new(stream, number);
    const TAGGED: u32 = TAGGED_LEN as u32;
    let written = if stream.ethernet_len == TAGGED {
        frame::<TAGGED_LEN>(&context, stream, &variant)
    } else {
        frame::<ETHERNET_LEN>(&context, stream, &variant)
    };
    if written.is_none() {
        return XDP_ABORTED;
    }
    progress.sent += 1;
    // SAFETY: the helper takes plain integers.
    unsafe { bpf_redirect(stream.ifindex, 0) as u32 }
}

/// What differs from packet to packet.
struct Variant {
    /// Bits of the source address.
    address: u32,
    port: u16,
    sequence: u32,
}

impl Variant {
    #[inline(always)]
    fn new(stream: &Stream, number: u32) -> Self {
        let random = mix(number);
        // Neither says anything about the other.
        let sequence = random.wrapping_mul(0xc2b2_ae35);
        if stream.everywhere != 0 {
            return Self {
                address: random & ((1 << EVERYWHERE_BITS) - 1),
                port: 1024 + (mix(sequence) >> 17) as u16,
                sequence,
            };
        }
        let flow = number.wrapping_mul(stream.step) & stream.flow_mask;
        // The mask tells the verifier what the number's size is.
        let bits = stream.address_bits & 31;
        Self {
            address: flow & ((1 << bits) - 1),
            port: 1024_u16.wrapping_add((flow >> bits) as u16),
            sequence,
        }
    }

    /// What it adds to the TCP checksum.
    #[inline(always)]
    fn sum(&self) -> u32 {
        words(self.address) + u32::from(self.port) + words(self.sequence)
    }
}

/// A permutation of all 32-bit numbers without a visible order.
#[inline(always)]
fn mix(number: u32) -> u32 {
    let number = number.wrapping_mul(0x9e37_79b1);
    let number = (number ^ number >> 15).wrapping_mul(0x85eb_ca6b);
    number ^ number >> 13
}

/// Writes the headers behind an Ethernet header of `ETHERNET` bytes, and that header.
#[inline(always)]
fn frame<const ETHERNET: usize>(
    context: &XdpContext,
    stream: &Stream,
    variant: &Variant,
) -> Option<()> {
    match stream.header_len as usize {
        IPV4_LEN => ipv4::<ETHERNET, IPV4_LEN>(context, stream, variant),
        IPV4_SYN_LEN => ipv4::<ETHERNET, IPV4_SYN_LEN>(context, stream, variant),
        IPV6_LEN => ipv6::<ETHERNET, IPV6_LEN>(context, stream, variant),
        IPV6_SYN_LEN => ipv6::<ETHERNET, IPV6_SYN_LEN>(context, stream, variant),
        _ => None,
    }
}

#[inline(always)]
fn ipv4<const ETHERNET: usize, const IP: usize>(
    context: &XdpContext,
    stream: &Stream,
    variant: &Variant,
) -> Option<()> {
    let mut packet = Packet::from_template(context, stream, ETHERNET + IP)?;
    let (ip, tcp) = (ETHERNET, ETHERNET + 20);
    let id = variant.sequence as u16;
    packet.put(ip + 4, id);
    packet.put32(ip + 12, stream.base | variant.address);
    packet.put(
        ip + 10,
        checksum(stream.ip_sum + words(variant.address) + u32::from(id)),
    );
    packet.tcp(tcp, stream, variant);
    Some(())
}

#[inline(always)]
fn ipv6<const ETHERNET: usize, const IP: usize>(
    context: &XdpContext,
    stream: &Stream,
    variant: &Variant,
) -> Option<()> {
    let mut packet = Packet::from_template(context, stream, ETHERNET + IP)?;
    let (source, tcp) = (ETHERNET + 8, ETHERNET + 40);
    let address = stream.base | variant.address;
    if stream.everywhere != 0 {
        packet.put32(source + 2, address);
    } else {
        packet.put32(source + 12, address);
    }
    packet.tcp(tcp, stream, variant);
    Some(())
}

/// The frame at hand. All offsets are constants below the length that was checked.
struct Packet(*mut u8);

impl Packet {
    /// The frame with the first `len` bytes, which must be there, taken from the template.
    #[inline(always)]
    fn from_template(context: &XdpContext, stream: &Stream, len: usize) -> Option<Self> {
        let start = context.data();
        if start + len > context.data_end() {
            return None;
        }
        let frame = start as *mut u8;
        // SAFETY: the bytes were checked, the program alone owns the frame, and no template is
        // longer than the array.
        unsafe { frame.copy_from_nonoverlapping(stream.template.as_ptr(), len) };
        Some(Self(frame))
    }

    #[inline(always)]
    fn tcp(&mut self, at: usize, stream: &Stream, variant: &Variant) {
        self.put(at, variant.port);
        self.put32(at + 4, variant.sequence);
        self.put(at + 16, checksum(stream.tcp_sum + variant.sum()));
    }

    #[inline(always)]
    fn put(&mut self, at: usize, value: u16) {
        for (offset, byte) in value.to_be_bytes().into_iter().enumerate() {
            // SAFETY: within the headers, whose length was checked.
            unsafe { *self.0.add(at + offset) = byte };
        }
    }

    #[inline(always)]
    fn put32(&mut self, at: usize, value: u32) {
        self.put(at, (value >> 16) as u16);
        self.put(at + 2, value as u16);
    }
}

/// The sum of a number's two 16-bit words.
#[inline(always)]
fn words(value: u32) -> u32 {
    (value >> 16) + (value & 0xffff)
}

#[inline(always)]
fn checksum(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}
