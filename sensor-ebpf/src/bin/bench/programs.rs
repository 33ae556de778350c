use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    btf_maps::{HashMap, PerCpuArray, ProgramArray},
    helpers::generated::bpf_ktime_get_coarse_ns,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use sensor_ebpf::{
    abi::{Direction, FlowKey},
    parse::{self, Origin, Pointers},
};

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// What the reference program counts.
#[derive(Clone, Copy)]
#[repr(C)]
struct Counters {
    packets: u64,
    bytes: u64,
    last_ns: u64,
}

#[btf_map]
static REFERENCE: HashMap<FlowKey, Counters, 131_072> = HashMap::new();

#[btf_map]
static COUNTER: PerCpuArray<u64, 1> = PerCpuArray::new();

/// The program that runs behind `vary`, with and without multi-buffer support: a program array
/// holds one kind only.
#[btf_map]
static NEXT: ProgramArray<1> = ProgramArray::new();

#[btf_map]
static NEXT_LINEAR: ProgramArray<1> = ProgramArray::new();

/// Does nothing.
#[xdp(frags)]
pub(crate) fn empty(_: XdpContext) -> u32 {
    XDP_PASS
}

/// The least that counts flows: the product's parser and key, one look-up, two atomic additions,
/// one coarse clock.
#[xdp(frags)]
pub(crate) fn reference(ctx: XdpContext) -> u32 {
    count(&ctx);
    XDP_PASS
}

/// The same, for a mirror port.
#[xdp(frags)]
pub(crate) fn reference_tap(ctx: XdpContext) -> u32 {
    count(&ctx);
    XDP_DROP
}

#[inline(always)]
fn count(ctx: &XdpContext) {
    // SAFETY: nothing moves the packet while it is parsed.
    let packet = unsafe { Pointers::new(ctx.data(), ctx.data_end()) };
    let ifindex = ctx.ingress_ifindex() as u32;
    let origin = Origin {
        ifindex,
        direction: Direction::Ingress,
        vlan: None,
    };
    let mut key = FlowKey::default();
    // Or LLVM zeroes only what is not written later, by stores that overlap, of which one is not
    // aligned: the verifier refuses it.
    core::hint::black_box(&mut key);
    if parse::ethernet_into(packet, origin, &mut key).is_err() {
        return;
    }
    let len = packet.len() as u64;
    // SAFETY: the helper has no preconditions.
    let last_ns = unsafe { bpf_ktime_get_coarse_ns() };
    if let Some(counters) = REFERENCE.get_ptr_mut(&key) {
        const RELAXED: AtomicOrdering = AtomicOrdering::Relaxed;
        // SAFETY: a live map value.
        unsafe {
            atomic_xadd::<u64, u64, RELAXED>(&raw mut (*counters).packets, 1);
            atomic_xadd::<u64, u64, RELAXED>(&raw mut (*counters).bytes, len);
            (*counters).last_ns = last_ns;
        }
    } else {
        let _ = REFERENCE.insert(
            &key,
            &Counters {
                packets: 1,
                bytes: len,
                last_ns,
            },
            0,
        );
    }
}

/// Gives each packet one of 65,536 source ports, by chance, and goes on with the program under
/// test. In turn would flatter a table that gives room in the order of arrival: its entries would be
/// read one after another, which the processor foresees.
#[xdp(frags)]
pub(crate) fn vary(ctx: XdpContext) -> u32 {
    rewrite(&ctx, by_chance);
    // SAFETY: the array holds XDP programs.
    unsafe { NEXT.tail_call(&ctx, 0) };
    XDP_PASS
}

/// [`vary`] in turn: the ports come again in the same scattered order.
#[xdp(frags)]
pub(crate) fn vary_in_turn(ctx: XdpContext) -> u32 {
    rewrite(&ctx, in_turn);
    // SAFETY: the array holds XDP programs.
    unsafe { NEXT.tail_call(&ctx, 0) };
    XDP_PASS
}

/// [`vary`] for programs without multi-buffer support.
#[xdp]
pub(crate) fn vary_linear(ctx: XdpContext) -> u32 {
    rewrite(&ctx, by_chance);
    // SAFETY: the array holds XDP programs.
    unsafe { NEXT_LINEAR.tail_call(&ctx, 0) };
    XDP_PASS
}

/// [`vary_in_turn`] for programs without multi-buffer support.
#[xdp]
pub(crate) fn vary_in_turn_linear(ctx: XdpContext) -> u32 {
    rewrite(&ctx, in_turn);
    // SAFETY: the array holds XDP programs.
    unsafe { NEXT_LINEAR.tail_call(&ctx, 0) };
    XDP_PASS
}

/// Gives each packet another source address, all of IPv4 in a scattered order.
#[xdp(frags)]
pub(crate) fn vary_source(ctx: XdpContext) -> u32 {
    rewrite_source(&ctx, u32::MAX);
    // SAFETY: the array holds XDP programs.
    unsafe { NEXT.tail_call(&ctx, 0) };
    XDP_PASS
}

/// Gives each packet another source address within 10.0.0.0/8, in a scattered order.
#[xdp(frags)]
pub(crate) fn vary_source_within(ctx: XdpContext) -> u32 {
    rewrite_source(&ctx, 0x00ff_ffff);
    // SAFETY: the array holds XDP programs.
    unsafe { NEXT.tail_call(&ctx, 0) };
    XDP_PASS
}

/// Makes each packet a SYN to 10.0.0.2, port 80, from a client of its own, whatever the program
/// under test has made of the one before.
#[xdp(frags)]
pub(crate) fn vary_syn(ctx: XdpContext) -> u32 {
    write_syn(&ctx);
    // SAFETY: the array holds XDP programs.
    unsafe { NEXT.tail_call(&ctx, 0) };
    XDP_PASS
}

/// Bytes of a SYN with the option of the maximum segment size.
const SYN_LEN: usize = 14 + 20 + 24;

/// The SYN, in words as the machine reads them. Programs under test do not look at checksums.
const SYN: [u64; SYN_LEN.div_ceil(8)] = {
    let mut bytes = [0; 8 * SYN_LEN.div_ceil(8)];
    bytes[5] = 2;
    bytes[11] = 1;
    bytes[12] = 0x08;
    bytes[14] = 0x45;
    bytes[17] = 20 + 24;
    bytes[22] = 64;
    bytes[23] = 6;
    bytes[30] = 10;
    bytes[33] = 2;
    bytes[37] = 80;
    bytes[46] = 0x60;
    bytes[47] = 2;
    bytes[48] = 0xff;
    bytes[54] = 2;
    bytes[55] = 4;
    bytes[56] = 5;
    bytes[57] = 180;
    let mut words = [0; SYN_LEN.div_ceil(8)];
    let mut at = 0;
    while at < bytes.len() {
        words[at / 8] |= (bytes[at] as u64) << (at % 8 * 8);
        at += 1;
    }
    words
};

#[inline(always)]
fn write_syn(ctx: &XdpContext) {
    const SOURCE: usize = 14 + 12;
    const SOURCE_PORT: usize = 14 + 20;
    const SEQUENCE: usize = SOURCE_PORT + 4;
    let at = ctx.data();
    if at + SYN_LEN > ctx.data_end() {
        return;
    }
    let Some(counter) = COUNTER.get_ptr_mut(0) else {
        return;
    };
    let [words @ .., last] = SYN;
    // SAFETY: this CPU's value; the addresses lie within the packet, as just compared, and a
    // packet begins at a multiple of 8.
    unsafe {
        *counter += 1;
        for (step, word) in words.into_iter().enumerate() {
            (at as *mut u64).add(step).write_volatile(word);
        }
        ((at + SYN_LEN - 2) as *mut u16).write_volatile(last as u16);
        let scattered = (*counter as u32).wrapping_mul(0x9e37_79b1);
        ((at + SOURCE) as *mut u16).write_volatile(0x10 | scattered as u16 & 0xff0f);
        ((at + SOURCE + 2) as *mut u16).write_volatile((scattered >> 16) as u16);
        ((at + SOURCE_PORT) as *mut u16).write_volatile(scattered as u16 | 4);
        ((at + SEQUENCE) as *mut u16).write_volatile(scattered as u16);
    }
}

/// Of an IPv4 packet without options in an Ethernet frame without tags; bits beyond `mask` are
/// those of 10.0.0.0.
#[inline(always)]
fn rewrite_source(ctx: &XdpContext, mask: u32) {
    const SOURCE: usize = 14 + 12;
    const NETWORK: u32 = 10 << 24;
    let at = ctx.data() + SOURCE;
    if at + 4 > ctx.data_end() {
        return;
    }
    if let Some(counter) = COUNTER.get_ptr_mut(0) {
        // SAFETY: this CPU's value; the address lies within the packet, as just compared.
        unsafe {
            *counter += 1;
            let scattered = (*counter as u32).wrapping_mul(0x9e37_79b1);
            let address = scattered & mask | NETWORK & !mask;
            (at as *mut u32).write_unaligned(address.to_be());
        }
    }
}

/// The port of a packet by its number.
#[inline(always)]
fn in_turn(number: u64) -> u16 {
    (number as u16).wrapping_mul(40_503)
}

/// The same, as good as by chance: multiplications carry upwards, shifts bring down.
#[inline(always)]
fn by_chance(number: u64) -> u16 {
    const ODD: u64 = 0xd6e8_feb8_6659_fd93;
    let mixed = (number ^ number >> 32).wrapping_mul(ODD);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(ODD);
    (mixed >> 40) as u16
}

/// Of an IPv4 packet without options in an Ethernet frame without tags.
#[inline(always)]
fn rewrite(ctx: &XdpContext, port: impl Fn(u64) -> u16) {
    const SOURCE_PORT: usize = 14 + 20;
    let at = ctx.data() + SOURCE_PORT;
    if at + 2 > ctx.data_end() {
        return;
    }
    if let Some(counter) = COUNTER.get_ptr_mut(0) {
        // SAFETY: this CPU's value; the port lies within the packet, as just compared.
        unsafe {
            *counter += 1;
            *(at as *mut u16) = port(*counter);
        }
    }
}
