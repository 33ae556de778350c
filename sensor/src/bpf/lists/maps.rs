//! The maps of the lists: changed in place, and what an earlier process has left in them.

use std::io;

use sensor_ebpf::abi::{FilterPrefix, ListEntry, ListHits, ListPort, map};

use super::{
    difference::{BATCH, Difference},
    records::{ListRecords, MAX_RECORDS},
};
use crate::{
    bpf::{
        pin::State,
        sys::{
            map::Table,
            mapped::{MappedArray, Window},
        },
    },
    lists::{Compiled, Prefix, Record, Remains},
    source::live::monotonic_ns,
};

/// What the programs look up.
#[derive(Debug)]
pub(in crate::bpf) struct Tables {
    pub(in crate::bpf) exact: Table<[u8; 16], ListEntry>,
    pub(in crate::bpf) prefixes: Table<FilterPrefix, ListEntry>,
    pub(in crate::bpf) ports: Table<ListPort, ListEntry>,
}

impl Tables {
    /// Those of a pinned data plane whose maps have other sizes; `None` if one is missing.
    fn open(state: &State) -> io::Result<Option<Self>> {
        let exact = state.open(map::LIST_EXACT)?;
        let prefixes = state.open(map::LIST_PREFIXES)?;
        let ports = state.open(map::LIST_PORTS)?;
        let (Some(exact), Some(prefixes), Some(ports)) = (exact, prefixes, ports) else {
            return Ok(None);
        };
        Ok(Some(Self {
            exact: Table::new(exact)?,
            prefixes: Table::new(prefixes)?,
            ports: Table::new(ports)?,
        }))
    }

    /// All that they hold.
    fn read(&self) -> io::Result<Compiled> {
        let full = |address| {
            Prefix::from_kernel(FilterPrefix {
                prefix_len: 128,
                address,
            })
        };
        let exact = self.exact.elements()?.into_iter();
        let prefixes = self.prefixes.elements()?.into_iter();
        let mut read = Compiled {
            exact: exact.map(|(key, entry)| (full(key), entry)).collect(),
            prefixes: prefixes
                .map(|(key, entry)| (Prefix::from_kernel(key), entry))
                .collect(),
            ports: self.ports.elements()?,
            uncertain: false,
        };
        read.sort();
        Ok(read)
    }
}

/// The maps of the lists, and what they hold.
#[derive(Debug)]
pub(in crate::bpf) struct ListMaps {
    tables: Tables,
    index: MappedArray<u64>,
    hits: Table<u32, ListHits>,
    /// What is in force, or the last that was to be.
    installed: Compiled,
    /// The last generation that was in force: see `Settings::lists_generation`.
    generation: u32,
    /// What the next process shall know; none without pinning.
    records: Option<ListRecords>,
    /// What the process before has left, until it is asked for.
    pub(in crate::bpf) remains: Remains,
}

impl ListMaps {
    pub(in crate::bpf) fn new(
        tables: Tables,
        index: MappedArray<u64>,
        hits: Table<u32, ListHits>,
    ) -> Self {
        Self {
            tables,
            index,
            hits,
            installed: Compiled::default(),
            generation: first_generation(),
            records: None,
            remains: Remains::default(),
        }
    }

    /// Goes on with what an earlier process has left in these maps, which are pinned in `state`. It
    /// stays in force until the first [`ListMaps::install`] replaces it.
    pub(in crate::bpf) fn resume(&mut self, state: &State) -> io::Result<()> {
        let records = ListRecords::open(state)?;
        self.installed = self.tables.read()?;
        self.remains = Remains {
            records: records.read(),
            in_force: self.installed.clone(),
        };
        self.records = Some(records);
        Ok(())
    }

    /// Begins anew in `state`, and takes over what is remembered in the one before, if there is one;
    /// what is in force there, only if its layouts are known.
    pub(in crate::bpf) fn replace(
        &mut self,
        state: &State,
        before: Option<(&State, bool)>,
    ) -> io::Result<()> {
        self.records = Some(ListRecords::open(state)?);
        let Some((before, is_readable)) = before else {
            return Ok(());
        };
        if let Some(records) = ListRecords::find(before)? {
            self.remains.records = records.read();
        }
        if is_readable && let Some(tables) = Tables::open(before)? {
            self.remains.in_force = tables.read()?;
        }
        Ok(())
    }

    /// Remembers `records` for the next process; returns for how many there is no room.
    pub(in crate::bpf) fn remember(&mut self, records: &[(u32, Record)]) -> io::Result<usize> {
        let Some(map) = &mut self.records else {
            return Ok(0);
        };
        let (kept, rest) = records.split_at(records.len().min(MAX_RECORDS));
        map.write(kept)?;
        Ok(rest.len())
    }

    /// Makes the maps hold `new`. The caller then moves the generation.
    ///
    /// # Errors
    /// The kernel's. What was to be is remembered beside what was, so that the next call
    /// completes or undoes the change.
    pub(in crate::bpf) fn install(&mut self, new: Compiled) -> io::Result<()> {
        let old = std::mem::take(&mut self.installed);
        let result = self.change(&old, &new);
        self.installed = match &result {
            Ok(()) => new,
            Err(_) => union(old, new),
        };
        result
    }

    fn change(&self, old: &Compiled, new: &Compiled) -> io::Result<()> {
        let tables = &self.tables;
        let exact = Difference::new(&old.exact, &new.exact, old.uncertain);
        let prefixes = Difference::new(&old.prefixes, &new.prefixes, old.uncertain);
        let ports = Difference::new(&old.ports, &new.ports, old.uncertain);
        let address = |prefix: Prefix| prefix.to_kernel().address;
        let bitmap = new.bitmap();
        let mut index = self.index.window(0, self.index.len())?;
        update(&mut index, bitmap.words(), |old, new| old | new);
        // What an allow entry joins moves from `exact` to `prefixes`, and is deleted below.
        let put = || {
            prefixes.put(&tables.prefixes, Prefix::to_kernel)?;
            exact.put(&tables.exact, address)?;
            ports.put(&tables.ports, |port| port)
        };
        let delete = || {
            exact.delete(&tables.exact, address)?;
            prefixes.delete(&tables.prefixes, Prefix::to_kernel)?;
            ports.delete(&tables.ports, |port| port)
        };
        match put() {
            Err(error) if is_full(&error) => {
                tracing::warn!(
                    "The old and the new lists have no room beside each other: addresses that are \
                     on both may pass for a moment"
                );
                delete()?;
                put()?;
            }
            result => result.and_then(|()| delete())?,
        }
        update(&mut index, bitmap.words(), |_, new| new);
        Ok(())
    }

    /// The next generation.
    pub(in crate::bpf) fn next_generation(&mut self) -> u32 {
        self.generation = match self.generation.wrapping_add(1) {
            0 => 1,
            next => next,
        };
        self.generation
    }

    /// Zeroes the hits that `counters` have counted.
    pub(in crate::bpf) fn zero(&self, counters: &[u32]) -> io::Result<()> {
        counters.chunks(BATCH).try_for_each(|some| {
            let zeroes = vec![ListHits::default(); some.len()];
            self.hits.set_all(some, &zeroes)
        })
    }

    /// The hits of an entry.
    pub(in crate::bpf) fn hits(&self, counter: u32) -> io::Result<ListHits> {
        Ok(self.hits.get(&counter)?.unwrap_or_default())
    }
}
/// Whether a table refused an element for lack of room: a hash table, or a trie.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC))
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
fn first_generation() -> u32 {
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
