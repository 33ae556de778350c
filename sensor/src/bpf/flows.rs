//! The flow tables of both generations: reading one that is closed, and making it ready again.

use std::io;

use sensor_ebpf::abi::{FlowEntry, FlowKey, FlowSlot, SLOTS_PER_WORD, SlotTag, TableSize};

use super::sys::{
    map::{Cursor, Table},
    mapped::{MappedArray, Window},
};

/// Flows of one batched look-up in the spill table; grows if a bucket holds more.
const BATCH: usize = 1024;

/// Words of the bit field whose slots are mapped at a time: 4 MiB, so that reading a large table
/// does not make this process look as if it held the table.
const WINDOW_WORDS: usize = (4 << 20) / size_of::<FlowSlot>() / SLOTS_PER_WORD;

/// The tables. What is said of "the table" means that of one generation.
#[derive(Debug)]
pub(super) struct FlowTables {
    slots: MappedArray<FlowSlot>,
    /// A bit for each slot, in the same order.
    used: Window<u64>,
    /// Tables for flows that met a full set.
    spill: [Table<FlowKey, FlowEntry>; 2],
    /// Flows that the table was made for.
    capacity: u32,
    /// Memory for batches of the spill table.
    keys: Vec<FlowKey>,
    entries: Vec<FlowEntry>,
    /// Keys that were read from the spill table and are still in it.
    spilled: Vec<FlowKey>,
}

impl FlowTables {
    /// For tables that were made for `capacity` flows.
    pub(super) fn new(
        slots: MappedArray<FlowSlot>,
        used: &MappedArray<u64>,
        spill: [Table<FlowKey, FlowEntry>; 2],
        capacity: u32,
    ) -> io::Result<Self> {
        if slots.len() != used.len() * SLOTS_PER_WORD {
            return Err(io::Error::other("its bit field is of another size"));
        }
        let used = used.window(0, used.len())?;
        Ok(Self {
            slots,
            used,
            spill,
            capacity,
            keys: vec![FlowKey::default(); BATCH],
            entries: vec![FlowEntry::default(); BATCH],
            spilled: Vec::new(),
        })
    }

    /// Flows that the table was made for.
    pub(super) const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Flows that the table holds at the very most.
    pub(super) const fn room(&self) -> usize {
        TableSize::of(self.capacity).room() as usize
    }

    /// Shows `each` every record of a closed generation. A key may come twice.
    pub(super) fn read(
        &mut self,
        epoch: u64,
        mut each: impl FnMut(&FlowKey, &FlowEntry),
    ) -> io::Result<()> {
        self.read_sets(epoch, &mut each)?;
        self.read_spill(epoch, &mut each)
    }

    fn read_sets(&self, epoch: u64, each: &mut impl FnMut(&FlowKey, &FlowEntry)) -> io::Result<()> {
        let words = self.words(epoch);
        for first in words.clone().step_by(WINDOW_WORDS) {
            let last = (first + WINDOW_WORDS).min(words.end);
            let mut window = None;
            for word in first..last {
                let mut bits = self.used.get(word).unwrap_or(0);
                if bits == 0 {
                    continue;
                }
                let window = match &window {
                    Some(window) => window,
                    None => window.insert(
                        self.slots
                            .window(first * SLOTS_PER_WORD, (last - first) * SLOTS_PER_WORD)?,
                    ),
                };
                while bits != 0 {
                    let at = (word - first) * SLOTS_PER_WORD + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    // After the grace period all slots that bear a bit are complete. One that is
                    // not would show as a difference in the law of accounting.
                    if let Some(slot) = window.get(at)
                        && SlotTag(slot.tag).is_of(epoch)
                        && SlotTag(slot.tag).is_ready()
                    {
                        each(&slot.key, &slot.entry);
                    }
                }
            }
        }
        Ok(())
    }

    fn read_spill(
        &mut self,
        epoch: u64,
        each: &mut impl FnMut(&FlowKey, &FlowEntry),
    ) -> io::Result<()> {
        let table = &self.spill[(epoch & 1) as usize];
        self.spilled.clear();
        let mut cursor = Cursor::default();
        loop {
            let batch = match table.read(&mut cursor, &mut self.keys, &mut self.entries) {
                Ok(batch) => batch,
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    let double = 2 * self.keys.len();
                    self.keys.resize(double, FlowKey::default());
                    self.entries.resize(double, FlowEntry::default());
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (key, entry) in self.keys.iter().zip(&self.entries).take(batch.count) {
                each(key, entry);
                self.spilled.push(*key);
            }
            if batch.end {
                return Ok(());
            }
        }
    }

    /// Makes the table of a generation ready for the next but one. Slots need nothing: they bear
    /// the number of the generation that used them.
    pub(super) fn clear(&mut self, epoch: u64) -> io::Result<()> {
        for word in self.words(epoch) {
            self.used.set(word, 0);
        }
        self.spill[(epoch & 1) as usize].delete_all(&self.spilled)?;
        self.spilled.clear();
        Ok(())
    }

    /// For tests: loses what a generation that is still open has in its sets.
    pub(super) fn lose(&mut self, epoch: u64) {
        for word in self.words(epoch) {
            self.used.set(word, 0);
        }
    }

    fn words(&self, epoch: u64) -> std::ops::Range<usize> {
        let half = self.used.len() / 2;
        let first = (epoch & 1) as usize * half;
        first..first + half
    }
}
