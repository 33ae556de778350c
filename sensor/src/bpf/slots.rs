//! Slots of the totals: which belongs to which device, now and in generations still open.

use std::io;

use sensor_ebpf::abi::{DEVICES_SIZE, MAX_DEVICES, device_entry};

use super::{
    pin::{Device, Index as PinnedIndex, Meta},
    sys::map::Array,
};

/// Number of a slot, from 1; the kernel counts devices without one in slot 0.
pub(super) type SlotId = u32;

/// A slot in use.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: SlotId,
    /// The device's name, now or when it was last seen.
    pub(super) device: String,
    pub(super) ifindex: u32,
    /// Differences of the law of accounting so far.
    pub(super) difference_total: u64,
    /// The device was detached in this generation; when it is closed the slot is free.
    retired: Option<u64>,
}

/// A device index under which flows of a slot are counted.
#[derive(Debug)]
struct Index {
    ifindex: u32,
    slot: SlotId,
    /// The last generation that can hold such flows; none while the index is in use.
    until: Option<u64>,
}

/// Why a device got no slot.
#[derive(Debug)]
pub(super) enum SlotError {
    /// All are in use.
    Full,
    /// The index, or one that the kernel's table takes for the same, belongs to this device.
    Collision(String),
    /// The kernel refused.
    Map(io::Error),
}

/// All slots, and the kernel's table of devices.
#[derive(Debug)]
pub(super) struct Slots {
    devices: Array<u64>,
    slots: Vec<Slot>,
    indices: Vec<Index>,
}

impl Slots {
    pub(super) const fn new(devices: Array<u64>) -> Self {
        Self {
            devices,
            slots: Vec::new(),
            indices: Vec::new(),
        }
    }

    /// Goes on with the slots that an earlier process has recorded. The kernel may count into them
    /// at this moment: its table of devices is made to agree before anything else happens.
    pub(super) fn resume(&mut self, meta: &Meta) -> io::Result<()> {
        for (id, device) in (1..).zip(&meta.devices) {
            if let Some(name) = device.name() {
                self.slots.push(Slot {
                    id,
                    device: name.to_owned(),
                    ifindex: device.ifindex,
                    difference_total: device.difference_total,
                    retired: (device.retired != 0).then_some(device.retired),
                });
            }
        }
        for index in meta.indices.iter().filter(|index| index.slot != 0) {
            let until = index.until();
            if until.is_none() {
                let entry = device_entry(index.ifindex, index.slot);
                self.devices.set(position(index.ifindex), &entry)?;
            }
            self.indices.push(Index {
                ifindex: index.ifindex,
                slot: index.slot,
                until,
            });
        }
        self.closed(meta.head.recorded);
        Ok(())
    }

    /// The slots whose devices are counted now, with the names and indices of these.
    pub(super) fn counted(&self) -> Vec<(SlotId, u32, String)> {
        let used = self.indices.iter().filter(|index| index.until.is_none());
        used.map(|index| (index.slot, index.ifindex, self.name(index.slot).to_owned()))
            .collect()
    }

    /// Writes what [`Slots::resume`] needs.
    pub(super) fn record(&self, meta: &mut Meta) {
        meta.devices.fill(Device::default());
        for slot in &self.slots {
            if let Some(device) = meta.devices.get_mut(slot.id as usize - 1) {
                *device = Device::new(
                    &slot.device,
                    slot.ifindex,
                    slot.difference_total,
                    slot.retired,
                );
            }
        }
        meta.indices.fill(PinnedIndex::default());
        // The latest matter most, should there be more than the record has room for.
        for (to, index) in meta.indices.iter_mut().zip(self.indices.iter().rev()) {
            *to = PinnedIndex::new(index.ifindex, index.slot, index.until);
        }
    }

    /// Gives `device` a slot, the one it had if that is still known, and makes the kernel count
    /// the index `ifindex` there.
    pub(super) fn take(&mut self, device: &str, ifindex: u32) -> Result<SlotId, SlotError> {
        let known = self.slots.iter().position(|slot| slot.device == device);
        let id = match known {
            Some(at) => self.slots[at].id,
            None => (1..=MAX_DEVICES as u32)
                .find(|id| self.slots.iter().all(|slot| slot.id != *id))
                .ok_or(SlotError::Full)?,
        };
        let taken = self.indices.iter().find(|index| {
            index.slot != id && index.ifindex as usize % DEVICES_SIZE == position(ifindex) as usize
        });
        if let Some(index) = taken {
            return Err(SlotError::Collision(self.name(index.slot).to_owned()));
        }
        self.devices
            .set(position(ifindex), &device_entry(ifindex, id))
            .map_err(SlotError::Map)?;
        self.indices.retain(|index| index.ifindex != ifindex);
        self.indices.push(Index {
            ifindex,
            slot: id,
            until: None,
        });
        match known {
            Some(at) => {
                self.slots[at].ifindex = ifindex;
                self.slots[at].retired = None;
            }
            None => self.slots.push(Slot {
                id,
                device: device.to_owned(),
                ifindex,
                difference_total: 0,
                retired: None,
            }),
        }
        Ok(id)
    }

    /// The device is off: its index is no longer counted. The slot is kept, for the generation
    /// `epoch` that is still open, and beyond it if the device may `return`.
    pub(super) fn release(&mut self, id: SlotId, epoch: u64, may_return: bool) {
        for index in &mut self.indices {
            if index.slot == id && index.until.is_none() {
                index.until = Some(epoch);
                if let Err(error) = self.devices.set(position(index.ifindex), &0) {
                    tracing::warn!(%error, "Device table was not cleared");
                }
            }
        }
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == id) {
            slot.retired = (!may_return).then_some(epoch);
        }
    }

    /// The generation `epoch` is closed: what only it needed is free.
    pub(super) fn closed(&mut self, epoch: u64) {
        self.indices
            .retain(|index| index.until.is_none_or(|until| until > epoch));
        self.slots
            .retain(|slot| slot.retired.is_none_or(|retired| retired > epoch));
    }

    /// The slot that counts flows of `ifindex`; 0 if none does.
    pub(super) fn of_index(&self, ifindex: u32) -> SlotId {
        let found = self.indices.iter().find(|index| index.ifindex == ifindex);
        found.map_or(0, |index| index.slot)
    }

    /// Whether the kernel counts `ifindex` in a slot of its own at this moment.
    pub(super) fn is_counted(&self, ifindex: u32) -> bool {
        let mut used = self.indices.iter().filter(|index| index.until.is_none());
        used.any(|index| index.ifindex == ifindex)
    }

    /// The device has another name.
    pub(super) fn rename(&mut self, id: SlotId, device: &str) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == id) {
            device.clone_into(&mut slot.device);
        }
    }

    /// The slots in use.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut()
    }

    fn name(&self, id: SlotId) -> &str {
        let found = self.slots.iter().find(|slot| slot.id == id);
        found.map_or("a device that is gone", |slot| slot.device.as_str())
    }
}

/// Where the kernel looks a device up.
const fn position(ifindex: u32) -> u32 {
    ifindex % DEVICES_SIZE as u32
}
