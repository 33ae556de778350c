//! Everything that exists in the kernel only. `run` holds what one run of a program needs to
//! know, `account` books it, `xdp` and `classifier` fill it in and are the entry points.

mod account;
mod atomic;
mod blocked;
mod bounds;
mod classifier;
mod count;
mod guard;
mod lists;
mod maps;
mod run;
mod sample;
mod table;
mod xdp;

/// Helpers marked GPL-only in the kernel need a compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Nothing on the packet path panics; the linker refuses an object in which this is reachable.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
