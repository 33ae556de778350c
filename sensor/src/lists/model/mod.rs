//! Who is listed: the entries with their sources, and what changes them.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sensor_ebpf::abi::{LIST_ENTRIES, LIST_PORTS};

use super::{
    Compiled, Entry, Key, List, ListError, NewEntry, Record, Source, Target, counters::Counters,
};
use crate::core::time::Timestamp;

/// A reason is cut to so many characters.
const MAX_REASON: usize = 200;

/// The allow and the block list.
#[derive(Debug, Default)]
pub struct Lists {
    entries: BTreeMap<Key, Entry>,
    /// Entries that end, in the order in which they do.
    ends: BTreeSet<(u64, Key)>,
    /// Entries that no feed has put there: few beside those of feeds.
    unfed: BTreeSet<Key>,
    ports: usize,
    /// Entries of the allow list.
    allowed: usize,
    counters: Counters,
}

impl Lists {
    /// Puts an entry on its list, or replaces what the same source has said of the same target;
    /// its hits are kept then. Returns whether it is new.
    ///
    /// # Errors
    /// [`ListError`] if there is no room, or an allow entry is meant as a dry run.
    pub fn add(&mut self, new: NewEntry, now: Timestamp) -> Result<bool, ListError> {
        let key = new.key();
        let old = self.entries.get(&key).map(|old| (old.hits, old.until_ns));
        let hits = match old {
            Some((hits, until_ns)) => {
                new.check()?;
                self.forget_end(until_ns, &key);
                hits
            }
            None => {
                self.check(&new)?;
                self.counters.take().ok_or(ListError::Full)?
            }
        };
        self.put(key, new, hits, now);
        Ok(old.is_none())
    }

    /// Whether an entry can come to the others.
    fn check(&self, new: &NewEntry) -> Result<(), ListError> {
        new.check()?;
        let is_full = self.entries.len() >= LIST_ENTRIES
            || (new.target.is_port() && self.ports >= LIST_PORTS);
        if is_full {
            Err(ListError::Full)
        } else {
            Ok(())
        }
    }

    /// Puts an entry in, whose end no entry has any more.
    fn put(&mut self, key: Key, new: NewEntry, hits: u32, since: Timestamp) {
        if let Some(until_ns) = new.until_ns {
            self.ends.insert((until_ns, key.clone()));
        }
        if !key.source.is_feed() {
            self.unfed.insert(key.clone());
        }
        let (is_port, is_allowed) = (key.target.is_port(), key.list == List::Allow);
        let entry = Entry {
            reason: shortened(new.reason),
            dry_run: new.dry_run,
            since,
            until_ns: new.until_ns,
            hits,
        };
        if self.entries.insert(key, entry).is_none() {
            self.ports += usize::from(is_port);
            self.allowed += usize::from(is_allowed);
        }
    }

    /// Goes on with what an earlier process has remembered, each entry with its hits.
    pub(crate) fn resume(records: &[(u32, Record)]) -> Self {
        let mut lists = Self::default();
        let mut used = BTreeSet::new();
        for (counter, record) in records {
            let Some((new, since)) = record.entry() else {
                continue;
            };
            let is_free = (*counter as usize) < LIST_ENTRIES && !used.contains(counter);
            let key = new.key();
            if is_free && !lists.entries.contains_key(&key) && lists.check(&new).is_ok() {
                used.insert(*counter);
                lists.put(key, new, *counter, since);
            }
        }
        lists.counters = Counters::resume(&used);
        lists
    }

    /// What outlives the process, by the index of its hits. Of too many the first are remembered:
    /// those of commands, which stand nowhere else.
    pub(crate) fn records(&self) -> Vec<(u32, Record)> {
        let record = |key: &Key| {
            let entry = self.entries.get(key)?;
            Some((entry.hits, Record::of(key, entry)?))
        };
        let mut records: Vec<_> = self.unfed.iter().filter_map(record).collect();
        records.sort_by_key(|(_, record)| !record.is_of_command());
        records
    }

    fn forget_end(&mut self, until_ns: Option<u64>, key: &Key) {
        if let Some(until_ns) = until_ns {
            self.ends.remove(&(until_ns, key.clone()));
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.forget_end(entry.until_ns, key);
        self.unfed.remove(key);
        self.ports -= usize::from(key.target.is_port());
        self.allowed -= usize::from(key.list == List::Allow);
        self.counters.give_back(entry.hits);
        Some(entry)
    }

    /// Takes off a list what a command or a detector has put there.
    ///
    /// # Errors
    /// [`ListError`] if the target is not there, or comes from a file.
    pub fn delete(&mut self, list: List, target: Target) -> Result<(), ListError> {
        let (steered, filed): (Vec<_>, Vec<_>) = self
            .of_target(target)
            .filter(|(key, _)| key.list == list)
            .map(|(key, _)| key.clone())
            .partition(|key| matches!(key.source, Source::Command | Source::Detector(_)));
        for key in &steered {
            self.remove(key);
        }
        match filed.into_iter().next() {
            Some(Key { source: by, .. }) => Err(ListError::NotByCommand { target, list, by }),
            None if steered.is_empty() => Err(ListError::Missing { target, list }),
            None => Ok(()),
        }
    }

    fn of_target(&self, target: Target) -> impl Iterator<Item = (&Key, &Entry)> {
        // The least key of this target.
        let from = Key {
            target,
            list: List::Allow,
            source: Source::Command,
        };
        self.entries
            .range(from..)
            .take_while(move |(key, _)| key.target == target)
    }

    /// Makes the entries of `source` exactly `new`, which are all of that source; those that were
    /// there keep their hits. Returns whether anything has changed.
    ///
    /// # Errors
    /// [`ListError`]; the lists are then as they were.
    pub fn replace(
        &mut self,
        source: &Source,
        new: Vec<NewEntry>,
        now: Timestamp,
    ) -> Result<bool, ListError> {
        let keep: BTreeSet<_> = new.iter().map(|entry| (entry.target, entry.list)).collect();
        let gone: Vec<_> = self
            .entries
            .keys()
            .filter(|key| key.source == *source && !keep.contains(&(key.target, key.list)))
            .cloned()
            .collect();
        let ports = keep.iter().filter(|(target, _)| target.is_port()).count();
        let others = self.entries.len() - self.count_of(source);
        let other_ports = self
            .entries
            .keys()
            .filter(|key| key.source != *source && key.target.is_port())
            .count();
        if others + keep.len() > LIST_ENTRIES || other_ports + ports > LIST_PORTS {
            return Err(ListError::Full);
        }
        new.iter().try_for_each(NewEntry::check)?;
        let mut changed = !gone.is_empty();
        for key in &gone {
            self.remove(key);
        }
        for entry in new {
            let same = self.entries.get(&entry.key()).is_some_and(|old| {
                old.dry_run == entry.dry_run
                    && old.until_ns == entry.until_ns
                    && old.reason == entry.reason
            });
            if !same {
                self.add(entry, now)?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Takes off what has ended by kernel time `now_ns`: the kernel heeds it no more.
    pub fn expire(&mut self, now_ns: u64) -> Vec<(Key, Entry)> {
        let mut ended = Vec::new();
        while let Some((_, key)) = self.ends.first().filter(|(end, _)| *end <= now_ns) {
            let key = key.clone();
            if let Some(entry) = self.remove(&key) {
                ended.push((key, entry));
            }
        }
        ended
    }

    /// All entries, in the order of their targets.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// Entries of one list.
    #[must_use]
    pub fn count(&self, list: List) -> usize {
        match list {
            List::Allow => self.allowed,
            List::Block => self.entries.len() - self.allowed,
        }
    }

    /// Entries of one source.
    pub(crate) fn count_of(&self, source: &Source) -> usize {
        let of_source = |key: &&Key| key.source == *source;
        self.entries.keys().filter(of_source).count()
    }

    /// The flat form, for the kernel.
    #[must_use]
    pub fn compile(&self) -> Compiled {
        Compiled::new(self.iter())
    }

    /// Counters of hits that were given to another entry, and have not been zeroed since: to be
    /// zeroed before the lists are put into force.
    pub(crate) fn reused(&self) -> &[u32] {
        self.counters.reused()
    }

    /// Those have been zeroed.
    pub(crate) fn zeroed(&mut self) {
        self.counters.zeroed();
    }
}

fn shortened(reason: Arc<str>) -> Arc<str> {
    match reason.char_indices().nth(MAX_REASON) {
        Some((at, _)) => reason.get(..at).unwrap_or_default().into(),
        None => reason,
    }
}
