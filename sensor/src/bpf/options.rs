//! What a caller chooses when it loads and attaches.

use super::LoadError;

/// How the data plane is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Flow directions that one generation shall hold; two tables of this size are preallocated
    /// in the kernel (about 214 bytes a flow each, see `sensor_ebpf::abi::TableSize`).
    pub flow_table_capacity: u32,
    /// Bytes of each CPU's sample ring: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Sizes of the SYN-flood guard's tables.
    pub guard_tables: GuardTables,
    /// No XDP: a classifier at TCX ingress (kernel 6.6) counts what an XDP program of somebody
    /// else lets through. Nothing is stopped then, neither lists nor guard are asked, and devices
    /// cannot be mirror ports.
    pub passive: bool,
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
            guard_tables: GuardTables::default(),
            passive: false,
            grace: Grace::Wait,
        }
    }
}

/// Sizes of the tables in which the SYN-flood guard remembers what it met, which all CPUs share.
/// Each is a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardTables {
    /// Blocks of 64 bytes with 15 SYNs each, at most 2^19: how many SYNs are remembered until
    /// their retransmission comes.
    pub syn_filter: u32,
    /// Blocks of 64 bytes with 15 clients each, at most 2^19: clients that were admitted.
    pub sources: u32,
    /// Token buckets of 8 bytes, at most 2^20: sources whose rate is limited.
    pub source_rates: u32,
}

impl Default for GuardTables {
    /// 32, 1 and 2 MiB: retransmissions find their first SYN for 3 s at 1.488 M SYNs a second.
    fn default() -> Self {
        Self {
            syn_filter: 524_288,
            sources: 16_384,
            source_rates: 262_144,
        }
    }
}

impl GuardTables {
    pub(super) fn check(self) -> Result<(), LoadError> {
        for (option, size, most) in [
            ("guard_tables.syn_filter", self.syn_filter, 1 << 19),
            ("guard_tables.sources", self.sources, 1 << 19),
            ("guard_tables.source_rates", self.source_rates, 1 << 20),
        ] {
            if !size.is_power_of_two() || size > most {
                return Err(LoadError::Option {
                    option,
                    value: size.into(),
                    reason: "a table of the guard has a power of two of entries, and not too many",
                });
            }
        }
        Ok(())
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
    /// The XDP mode that is asked for; a passive data plane has none.
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
