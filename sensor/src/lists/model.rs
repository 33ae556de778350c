//! Who is listed: the entries with their sources, and what changes them.

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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(0);

    fn entry(list: List, target: &str, source: Source) -> NewEntry {
        NewEntry {
            target: target.parse().unwrap(),
            list,
            source,
            reason: "".into(),
            dry_run: false,
            until_ns: None,
        }
    }

    fn blocked(lists: &Lists) -> Vec<String> {
        let keys = lists.iter().map(|(key, _)| key);
        keys.map(|key| format!("{} by {}", key.target, key.source))
            .collect()
    }

    #[test]
    fn an_entry_added_again_keeps_its_hits_and_takes_the_new_end() {
        let mut lists = Lists::default();
        let mut new = entry(List::Block, "192.0.2.1", Source::Command);
        new.until_ns = Some(100);
        assert_eq!(lists.add(new.clone(), NOW), Ok(true));
        let hits = lists.iter().next().unwrap().1.hits;
        new.until_ns = Some(200);
        assert_eq!(lists.add(new, NOW), Ok(false));
        assert_eq!(lists.expire(199).len(), 0);
        let ended = lists.expire(200);
        assert_eq!((ended.len(), ended[0].1.hits), (1, hits));
        assert!(lists.compile().is_empty());
    }

    #[test]
    fn a_command_deletes_what_commands_and_detectors_added_and_nothing_else() {
        let mut lists = Lists::default();
        let target = "192.0.2.0/24".parse().unwrap();
        for source in [Source::Command, Source::Detector("scan"), Source::Config] {
            lists
                .add(entry(List::Block, "192.0.2.0/24", source), NOW)
                .unwrap();
        }
        assert_eq!(
            lists.delete(List::Allow, target),
            Err(ListError::Missing {
                target,
                list: List::Allow
            })
        );
        let error = lists.delete(List::Block, target).unwrap_err();
        assert_eq!(
            error.to_string(),
            "192.0.2.0/24 is on the block list by the config: take it out there and reload (SIGHUP)"
        );
        assert_eq!(blocked(&lists), ["192.0.2.0/24 by config"]);
        assert_eq!(lists.count(List::Block), 1);
        lists
            .add(entry(List::Block, "192.0.2.0/24", Source::Command), NOW)
            .unwrap();
        assert!(lists.replace(&Source::Config, Vec::new(), NOW).unwrap());
        assert_eq!(lists.delete(List::Block, target), Ok(()));
        assert_eq!(blocked(&lists), [""; 0]);
    }

    #[test]
    fn entries_are_counted_by_list() {
        let mut lists = Lists::default();
        for (list, target) in [(List::Allow, "10.0.0.1"), (List::Block, "10.0.0.1")] {
            for source in [Source::Command, Source::Config, Source::Command] {
                lists.add(entry(list, target, source), NOW).unwrap();
            }
        }
        let count = |lists: &Lists| (lists.count(List::Allow), lists.count(List::Block));
        assert_eq!(count(&lists), (2, 2));
        let target = "10.0.0.1".parse().unwrap();
        lists.delete(List::Allow, target).expect_err("one stays");
        assert_eq!(count(&lists), (1, 2));
        assert_eq!(lists.records().len(), 3);
    }

    #[test]
    fn a_feed_is_replaced_by_what_it_holds_now() {
        let mut lists = Lists::default();
        let feed = Source::Feed("drop.txt".into());
        let of = |targets: &[&str]| {
            let entries = targets.iter();
            entries
                .map(|target| entry(List::Block, target, feed.clone()))
                .collect::<Vec<_>>()
        };
        lists
            .add(entry(List::Block, "10.0.0.1", Source::Command), NOW)
            .unwrap();
        let first = of(&["10.0.0.0/8", "10.0.0.1", "10.0.0.1"]);
        assert_eq!(lists.replace(&feed, first.clone(), NOW), Ok(true));
        assert_eq!(
            lists.replace(&feed, first, NOW),
            Ok(false),
            "the same again"
        );
        let hits = |lists: &Lists| lists.iter().last().map(|(_, entry)| entry.hits);
        let before = hits(&lists);
        assert_eq!(lists.replace(&feed, of(&["10.0.0.1"]), NOW), Ok(true));
        assert_eq!(
            blocked(&lists),
            ["10.0.0.1 by command", "10.0.0.1 by feed drop.txt"]
        );
        assert_eq!(hits(&lists), before);
    }

    #[test]
    fn full_lists_refuse_more_and_stay_as_they_are() {
        let mut lists = Lists::default();
        let all: Vec<_> = (0..LIST_ENTRIES as u32)
            .map(|address| NewEntry {
                target: Target::Net(super::super::Prefix::new(
                    std::net::Ipv4Addr::from(address).into(),
                    32,
                )),
                ..entry(List::Block, "::", Source::Config)
            })
            .collect();
        let mut more = all.clone();
        more.push(entry(List::Block, "192.0.2.1", Source::Config));
        assert_eq!(
            lists.replace(&Source::Config, more, NOW),
            Err(ListError::Full)
        );
        assert_eq!(lists.count(List::Block), 0);
        lists.replace(&Source::Config, all, NOW).unwrap();
        let one = entry(List::Block, "192.0.2.1", Source::Command);
        assert_eq!(lists.add(one.clone(), NOW), Err(ListError::Full));
        // A counter that comes back into use has to be zeroed.
        lists.replace(&Source::Config, Vec::new(), NOW).unwrap();
        assert!(lists.reused().is_empty());
        assert_eq!(lists.add(one, NOW), Ok(true));
        assert_eq!(lists.reused().len(), 1);
        lists.zeroed();
        assert!(lists.reused().is_empty());
    }

    #[test]
    fn reasons_are_cut_and_dry_runs_only_block() {
        let mut lists = Lists::default();
        let mut long = entry(List::Block, "192.0.2.1", Source::Command);
        long.reason = "ä".repeat(1000).into();
        lists.add(long, NOW).unwrap();
        let kept = lists.iter().next().unwrap().1.reason.chars().count();
        assert_eq!(kept, MAX_REASON);
        let mut dry = entry(List::Allow, "192.0.2.1", Source::Command);
        dry.dry_run = true;
        assert_eq!(lists.add(dry, NOW), Err(ListError::DryAllow));
    }
}
