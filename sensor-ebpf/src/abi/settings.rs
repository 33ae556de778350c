use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of [`Settings::mode`].
pub mod mode {
    /// Mirror port: count, sample and drop every frame.
    pub const TAP: u32 = 1;
    /// Sample every packet.
    pub const SAMPLE_FULL: u32 = 2;
    /// Sample nothing.
    pub const SAMPLE_OFF: u32 = 4;
    /// A sampling filter is set: sample only what it matches.
    pub const SAMPLE_FILTER: u32 = 8;
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
    /// Sample one in so many of the rest; 0 for none.
    pub one_in: u32,
    /// Samples per CPU, class (`SampleClass`) and 10 ms.
    pub budget: [u32; 5],
}
