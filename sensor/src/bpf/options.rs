//! What a caller chooses when it loads and attaches.

/// How the data plane is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Flow directions that one generation can hold; two tables of this size are preallocated in
    /// the kernel (about 176 bytes an entry each).
    pub flow_table_capacity: u32,
    /// Bytes of each CPU's sample ring: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Whether closing a generation waits for running programs. Tests alone skip it, to show that
    /// the law of accounting notices.
    #[doc(hidden)]
    pub grace: Grace,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            flow_table_capacity: 262_144,
            ring_bytes: 4 << 20,
            grace: Grace::Wait,
        }
    }
}

/// What happens between the flip of the epoch and the reading of the closed generation.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grace {
    /// Wait until no program can still hold the old epoch.
    #[default]
    Wait,
    /// For tests: read at once, which is wrong.
    SkipForTest,
}

/// How one device is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// The XDP mode that is asked for.
    pub mode: ModeOption,
    /// Mirror port: promiscuous, no egress program, every frame is counted and dropped.
    pub tap: bool,
    /// Allow `tap` on a device that has IP addresses, whose host becomes unreachable by it.
    pub force_tap: bool,
    /// Which egress hook is used.
    pub egress: EgressOption,
}

/// `--mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModeOption {
    /// Native where the driver can, else generic with a warning.
    #[default]
    Auto,
    /// Native or an error.
    Native,
    /// Generic even where native would work.
    Generic,
}

/// How packets that the host sends are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EgressOption {
    /// TCX (kernel 6.6), below it a clsact filter.
    #[default]
    Auto,
    /// A clsact filter even where TCX would work.
    Clsact,
    /// Count received packets only.
    Off,
}
