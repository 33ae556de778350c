//! What a pinned data plane says of itself, in a map that only user space reads.

use sensor_ebpf::{
    abi::{MAX_DEVICES, VERSION},
    hash::FLOW_SEED_WORDS,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// "SENSOR" and the version of [`Meta`]; it moves with the layout behind [`Head`].
const MAGIC: u64 = u64::from_be_bytes(*b"SENSOR\0\x01");

/// Device indices that one state can remember: each device's own, and those of devices that came
/// back under another index within the open generation.
const INDICES: usize = 2 * MAX_DEVICES;

/// [`Index::until`] of an index that is in use.
const IN_USE: u64 = u64::MAX;

/// What every version of a sensor can read of every other's state: this layout does not change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(in super::super) struct Head {
    magic: u64,
    /// `abi::VERSION` of the maps beside it.
    pub(in super::super) abi: u64,
    /// The last generation that the outputs have taken; it may not be cleared yet.
    pub(in super::super) recorded: u64,
    /// Kernel time (`CLOCK_MONOTONIC`, nanoseconds) of the daemon's last sign of life.
    pub(in super::super) heartbeat_ns: u64,
    /// Packets of recorded generations.
    pub(in super::super) drained_packets: u64,
    /// Those of them whose flows were in no event yet.
    pub(in super::super) untold_packets: u64,
}

/// The value of the map `META`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(in super::super) struct Meta {
    pub(in super::super) head: Head,
    /// By slot; slot 1 comes first.
    pub(in super::super) devices: [Device; MAX_DEVICES],
    pub(in super::super) indices: [Index; INDICES],
    /// Flows that the tables were made for.
    pub(in super::super) flow_capacity: u32,
    pub(in super::super) _pad: u32,
    /// The key of the hash that places flows in them.
    pub(in super::super) flow_seed: [u64; FLOW_SEED_WORDS],
}

/// A device with a slot of its own in the totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(in super::super) struct Device {
    /// Ends at the first zero; empty where the slot is free.
    name: [u8; 16],
    /// Differences of the law of accounting so far.
    pub(in super::super) difference_total: u64,
    /// The generation in which it was detached, or 0.
    pub(in super::super) retired: u64,
    /// Its index, now or when it was last seen.
    pub(in super::super) ifindex: u32,
    _pad: u32,
}

/// A device index under which flows of a slot are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(in super::super) struct Index {
    pub(in super::super) ifindex: u32,
    /// 0 where the entry is free.
    pub(in super::super) slot: u32,
    until: u64,
}

impl Default for Meta {
    fn default() -> Self {
        Self {
            head: Head {
                magic: MAGIC,
                abi: VERSION.into(),
                ..Head::default()
            },
            devices: [Device::default(); MAX_DEVICES],
            indices: [Index::default(); INDICES],
            flow_capacity: 0,
            _pad: 0,
            flow_seed: [0; FLOW_SEED_WORDS],
        }
    }
}

impl Head {
    /// Whether the rest of the state has the layouts of this build.
    pub(in super::super) fn is_known(&self) -> bool {
        self.magic == MAGIC && self.abi == u64::from(VERSION)
    }
}

impl Device {
    pub(in super::super) fn new(
        name: &str,
        ifindex: u32,
        difference_total: u64,
        retired: Option<u64>,
    ) -> Self {
        let mut device = Self {
            difference_total,
            retired: retired.unwrap_or(0),
            ifindex,
            ..Self::default()
        };
        // The kernel's names have at most 15 bytes.
        for (to, from) in device.name[..15].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        device
    }

    /// Its name; `None` where the slot is free.
    pub(in super::super) fn name(&self) -> Option<&str> {
        let name = self.name.split(|byte| *byte == 0).next()?;
        let name = str::from_utf8(name).ok()?;
        (!name.is_empty()).then_some(name)
    }
}

impl Index {
    pub(in super::super) fn new(ifindex: u32, slot: u32, until: Option<u64>) -> Self {
        Self {
            ifindex,
            slot,
            until: until.unwrap_or(IN_USE),
        }
    }

    /// The kernel counts the device under this index now.
    pub(in super::super) const fn is_counted(&self) -> bool {
        self.slot != 0 && self.until == IN_USE
    }

    /// The last generation that can hold such flows; none while the index is in use.
    pub(in super::super) fn until(&self) -> Option<u64> {
        (self.until != IN_USE).then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_generations_come_back() {
        let device = Device::new("a-device-of-15b", 7, 3, None);
        assert_eq!(device.name(), Some("a-device-of-15b"));
        assert_eq!(Device::default().name(), None);
        assert_eq!(Index::new(1, 2, None).until(), None);
        assert_eq!(Index::new(1, 2, Some(9)).until(), Some(9));
    }

    #[test]
    fn another_version_is_not_known() {
        let meta = Meta::default();
        assert!(meta.head.is_known());
        let other = Head {
            abi: meta.head.abi + 1,
            ..meta.head
        };
        assert!(!other.is_known());
        assert!(!Head::default().is_known());
    }
}
