//! The allow and block lists in the kernel.
//!
//! A change is made in place, as the difference between what is in force and what is to be: first
//! the index learns of what is new, then elements are added and replaced, then those that are
//! gone deleted, then the index forgets them, and at last the generation moves, upon which every
//! flow is judged anew. An address goes from its old verdict to its new one in one step: its
//! longest match is the old element until a new one is added, or until it is deleted itself;
//! and in between no element of either state is missing. So a feed of 100,000 prefixes
//! is replaced without a second copy, without a map made at run time, and without a gap.

use std::io;

use sensor_ebpf::abi::{FilterPrefix, ListEntry, ListHits, ListPort, mode};
use zerocopy::{Immutable, IntoBytes};

use super::{
    DataPlane, PlaneError,
    list_records::{ListRecords, MAX_RECORDS},
    plane::failed,
    sys::{
        mapped::{MappedArray, Window},
        table::Table,
    },
};
use crate::{
    lists::{Compiled, Entry, Prefix, Record},
    source::live::monotonic_ns,
};

/// Elements that one system call sets.
const BATCH: usize = 4096;

/// The maps of the lists, and what they hold.
#[derive(Debug)]
pub(super) struct ListMaps {
    pub(super) exact: Table<[u8; 16], ListEntry>,
    pub(super) prefixes: Table<FilterPrefix, ListEntry>,
    pub(super) ports: Table<ListPort, ListEntry>,
    pub(super) index: MappedArray<u64>,
    pub(super) hits: Table<u32, ListHits>,
    /// What is in force, or the last that was to be.
    pub(super) installed: Compiled,
    /// The last generation that was in force: see `Settings::lists_generation`.
    pub(super) generation: u32,
    /// What the next process shall know; none without pinning.
    pub(super) records: Option<ListRecords>,
    /// What the process before has remembered, until it is asked for.
    pub(super) remembered: Vec<(u32, Record)>,
}

/// A difference between two sorted tables.
struct Difference<'a, K> {
    put: Vec<&'a (K, ListEntry)>,
    delete: Vec<K>,
}

impl<'a, K: Ord + Copy> Difference<'a, K> {
    /// `uncertain`: the old table may not be what the kernel holds.
    fn new(old: &[(K, ListEntry)], new: &'a [(K, ListEntry)], uncertain: bool) -> Self {
        let mut put = Vec::new();
        let mut delete = Vec::new();
        let mut old = old.iter().peekable();
        for entry in new {
            while let Some((key, _)) = old.next_if(|(key, _)| *key < entry.0) {
                delete.push(*key);
            }
            let same = old.next_if(|(key, _)| *key == entry.0) == Some(entry);
            if !same || uncertain {
                put.push(entry);
            }
        }
        delete.extend(old.map(|(key, _)| *key));
        Self { put, delete }
    }

    fn put<T: IntoBytes + Immutable>(
        &self,
        table: &Table<T, ListEntry>,
        as_key: impl Fn(K) -> T,
    ) -> io::Result<()> {
        for batch in self.put.chunks(BATCH) {
            let keys: Vec<_> = batch.iter().map(|(key, _)| as_key(*key)).collect();
            let values: Vec<_> = batch.iter().map(|(_, value)| *value).collect();
            table.put(&keys, &values)?;
        }
        Ok(())
    }

    fn delete<T: IntoBytes + Immutable>(
        &self,
        table: &Table<T, ListEntry>,
        as_key: impl Fn(K) -> T,
    ) -> io::Result<()> {
        self.delete
            .iter()
            .try_for_each(|key| table.delete(&as_key(*key)))
    }
}

impl DataPlane {
    /// Puts allow and block lists into force; `reused` are counters of hits to be zeroed first.
    /// Every flow is judged anew.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses a part: what it took is in force, and the next call
    /// makes good the rest.
    pub fn set_lists(&mut self, lists: Compiled, reused: &[u32]) -> Result<(), PlaneError> {
        let is_empty = lists.is_empty();
        let maps = &mut self.loaded.lists;
        let installed = maps.install(lists, reused);
        // Also after a failure: what was changed has to be heeded.
        maps.generation = match maps.generation.wrapping_add(1) {
            0 => 1,
            next => next,
        };
        self.settings.lists_generation = if is_empty && installed.is_ok() {
            0
        } else {
            maps.generation
        };
        let written = self.settings_changed();
        installed.and(written).map_err(failed("lists"))
    }

    /// What an earlier process has remembered of its lists beside the pinned data plane, each entry
    /// with the index of its hits. The next call gives nothing.
    pub(crate) fn take_remembered_lists(&mut self) -> Vec<(u32, Record)> {
        std::mem::take(&mut self.loaded.lists.remembered)
    }

    /// Remembers entries for the next process, in the place of those before; without pinning there
    /// is none. Returns how many there was no room for.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses one.
    pub(crate) fn remember_lists(
        &mut self,
        records: &[(u32, Record)],
    ) -> Result<usize, PlaneError> {
        let Some(map) = &mut self.loaded.lists.records else {
            return Ok(0);
        };
        let (kept, rest) = records.split_at(records.len().min(MAX_RECORDS));
        map.write(kept).map_err(failed("records of the lists"))?;
        Ok(rest.len())
    }

    /// What an entry of the lists has decided over.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses to tell.
    pub fn list_hits(&self, entry: &Entry) -> Result<ListHits, PlaneError> {
        let hits = self.loaded.lists.hits(entry.hits);
        hits.map_err(failed("hits of the lists"))
    }

    /// The kill switch: with `pass`, neither lists nor guard are asked and every frame passes,
    /// also on a mirror port. Counting goes on.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses the update.
    pub fn set_pass_all(&mut self, pass: bool) -> Result<(), PlaneError> {
        if pass {
            self.settings.mode |= mode::PASS_ALL;
        } else {
            self.settings.mode &= !mode::PASS_ALL;
        }
        self.settings_changed().map_err(failed("settings"))
    }
}

impl ListMaps {
    /// Makes the maps hold `new`. The caller then moves the generation.
    ///
    /// # Errors
    /// The kernel's. What was to be is remembered beside what was, so that the next call
    /// completes or undoes the change.
    fn install(&mut self, new: Compiled, reused: &[u32]) -> io::Result<()> {
        for hits in reused.chunks(BATCH) {
            self.hits
                .put(hits, &vec![ListHits::default(); hits.len()])?;
        }
        let old = std::mem::take(&mut self.installed);
        let result = self.change(&old, &new);
        self.installed = match &result {
            Ok(()) => new,
            Err(_) => union(old, new),
        };
        result
    }

    fn change(&self, old: &Compiled, new: &Compiled) -> io::Result<()> {
        let exact = Difference::new(&old.exact, &new.exact, old.uncertain);
        let prefixes = Difference::new(&old.prefixes, &new.prefixes, old.uncertain);
        let ports = Difference::new(&old.ports, &new.ports, old.uncertain);
        let address = |prefix: Prefix| prefix.to_kernel().address;
        let bitmap = new.bitmap();
        let mut index = self.index.window(0, self.index.len())?;
        update(&mut index, bitmap.words(), |old, new| old | new);
        // What an allow entry joins moves from `exact` to `prefixes`, and is deleted below.
        prefixes.put(&self.prefixes, Prefix::to_kernel)?;
        exact.put(&self.exact, address)?;
        ports.put(&self.ports, |port| port)?;
        exact.delete(&self.exact, address)?;
        prefixes.delete(&self.prefixes, Prefix::to_kernel)?;
        ports.delete(&self.ports, |port| port)?;
        update(&mut index, bitmap.words(), |_, new| new);
        Ok(())
    }

    /// Learns what an earlier process has left in the maps. It stays in force until the first
    /// [`DataPlane::set_lists`] replaces it.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        let full = |address| {
            Prefix::from_kernel(FilterPrefix {
                prefix_len: 128,
                address,
            })
        };
        let nothing = ListEntry::default();
        let exact = self.exact.keys()?.into_iter();
        let prefixes = self.prefixes.keys()?.into_iter();
        let ports = self.ports.keys()?.into_iter();
        let left = Compiled {
            exact: exact.map(|key| (full(key), nothing)).collect(),
            prefixes: prefixes
                .map(|key| (Prefix::from_kernel(key), nothing))
                .collect(),
            ports: ports.map(|key| (key, nothing)).collect(),
            uncertain: true,
        };
        self.installed = union(left, Compiled::default());
        Ok(())
    }

    /// The hits of an entry.
    fn hits(&self, counter: u32) -> io::Result<ListHits> {
        Ok(self.hits.get(&counter)?.unwrap_or_default())
    }
}

/// Changes each word to what `change` makes of the old and the new one. The programs read words
/// at any time: each is old or new.
fn update(index: &mut Window<u64>, new: &[u64], change: impl Fn(u64, u64) -> u64) {
    for (at, new) in new.iter().enumerate() {
        let old = index.get(at).unwrap_or_default();
        let changed = change(old, *new);
        if changed != old {
            index.set(at, changed);
        }
    }
}

/// Where generations of the lists begin: beyond all that an earlier process has marked flows with,
/// unless it has changed its lists a thousand times a second.
pub(super) fn first_generation() -> u32 {
    (monotonic_ns() >> 20) as u32
}

/// All keys of both, for whose values nobody answers.
fn union(old: Compiled, new: Compiled) -> Compiled {
    fn join<K: Ord + Copy>(
        mut a: Vec<(K, ListEntry)>,
        b: Vec<(K, ListEntry)>,
    ) -> Vec<(K, ListEntry)> {
        a.extend(b);
        a.sort_by_key(|(key, _)| *key);
        a.dedup_by_key(|(key, _)| *key);
        a
    }
    Compiled {
        exact: join(old.exact, new.exact),
        prefixes: join(old.prefixes, new.prefixes),
        ports: join(old.ports, new.ports),
        uncertain: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(keys: &[(u32, u64)]) -> Vec<(u32, ListEntry)> {
        let entry = |block_until_ns| ListEntry {
            block_until_ns,
            ..ListEntry::default()
        };
        keys.iter().map(|(key, end)| (*key, entry(*end))).collect()
    }

    #[test]
    fn only_what_differs_is_written() {
        let old = table(&[(1, 10), (2, 10), (4, 10), (9, 10)]);
        let new = table(&[(2, 10), (3, 10), (4, 20)]);
        let difference = Difference::new(&old, &new, false);
        let put: Vec<_> = difference.put.iter().map(|(key, _)| *key).collect();
        assert_eq!((put, difference.delete), (vec![3, 4], vec![1, 9]));
        let all = Difference::new(&old, &new, true);
        assert_eq!(all.put.len(), 3);
    }
}
