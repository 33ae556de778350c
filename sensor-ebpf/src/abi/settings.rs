use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of [`Settings::mode`].
pub mod mode {
    /// Mirror port: count, sample and drop every frame.
    pub const TAP: u32 = 1;
    /// Sample every packet.
    pub const SAMPLE_FULL: u32 = 2;
    /// Sample nothing.
    pub const SAMPLE_OFF: u32 = 4;
    /// Sample only packets from or to an address in `FILTER_ADDRS`.
    pub const FILTER_ADDRESSES: u32 = 8;
    /// Sample only packets from or to a port in `FILTER_PORTS`.
    pub const FILTER_PORTS: u32 = 16;
    /// The kill switch: lists and guard are not asked, every frame passes, also on a mirror port.
    pub const PASS_ALL: u32 = 32;
}

/// What the SYN-flood guard may do: [`Settings::guard`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum GuardMode {
    /// Nothing; SYNs are not even watched.
    #[default]
    Off = 0,
    /// Watches, and counts what it would have done.
    Monitor = 1,
    /// Defends.
    Mitigate = 2,
}

/// What user space can change at run time, without detaching.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Settings {
    /// Bits of [`mode`].
    pub mode: u32,
    /// Sample the first so many packets of each flow.
    pub first_packets: u32,
    /// How often to sample the rest: see [`Settings::rest_below`].
    pub rest_below: u32,
    /// Samples per CPU, class (`SampleClass`) and 10 ms.
    pub budget: [u32; 5],
    /// Moves with every change of the allow and block lists; 0 while all of them are empty.
    pub lists_generation: u32,
    /// A [`GuardMode`].
    pub guard: u32,
    /// Entries of `DESTINATIONS`: 0 spares every SYN the look-up.
    pub destinations: u32,
    pub _pad: u32,
}

impl Settings {
    /// The value of the field `rest_below` that samples one packet in `one_in`; 0 samples none.
    ///
    /// The kernel has no cheap division: it multiplies a packet counter by a constant and samples
    /// what falls below this share of 2^32.
    #[must_use]
    pub const fn rest_below(one_in: u32) -> u32 {
        match u32::MAX.checked_div(one_in) {
            Some(below) => below,
            None => 0,
        }
    }
}

/// Key of `FILTER_ADDRS`, laid out as the kernel's LPM trie wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FilterPrefix {
    /// Bits of `address` that count; an IPv4 prefix has 96 more.
    pub prefix_len: u32,
    /// As in `FlowKey`: IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
}
