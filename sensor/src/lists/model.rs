//! Who is listed: the entries with their sources, and what changes them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
};

use sensor_ebpf::abi::{LIST_ENTRIES, LIST_PORTS};
use serde::{Deserialize, Serialize};

use super::{Compiled, Record, Target};
use crate::core::time::Timestamp;

/// A reason is cut to so many characters.
const MAX_REASON: usize = 200;

/// Which list an entry stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum List {
    /// Never dropped by the block list or the guard.
    Allow,
    /// Dropped.
    Block,
}

impl List {
    /// As users write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Block => "block",
        }
    }
}

/// Who put an entry on a list. The same target may stand there once for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `sensor block add`, `sensor allow add`.
    Command,
    /// The configuration file.
    Config,
    /// A feed, by the path of its file.
    Feed(Arc<str>),
    /// A detector, by its name.
    Detector(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command => f.write_str("command"),
            Self::Config => f.write_str("config"),
            Self::Feed(path) => write!(f, "feed {path}"),
            Self::Detector(name) => write!(f, "detector {name}"),
        }
    }
}

/// What tells entries apart; in the order in which they are compiled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub target: Target,
    pub list: List,
    pub source: Source,
}

/// What is known of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Why, in the words of who put it there; may be empty.
    pub reason: Arc<str>,
    /// Block list: count only, drop nothing.
    pub dry_run: bool,
    /// When it was put there, or changed.
    pub since: Timestamp,
    /// Kernel time (`CLOCK_MONOTONIC`, nanoseconds) at which it ends; `None` for never.
    pub until_ns: Option<u64>,
    /// Where the kernel counts its hits.
    pub(crate) hits: u32,
}

/// An entry to be.
#[derive(Clone, Debug)]
pub struct NewEntry {
    pub target: Target,
    pub list: List,
    pub source: Source,
    pub reason: Arc<str>,
    pub dry_run: bool,
    pub until_ns: Option<u64>,
}

/// Why a list stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    #[error(
        "the lists hold {LIST_ENTRIES} entries, {LIST_PORTS} of them with a port, and no more: \
         delete some, or give prefixes instead of addresses"
    )]
    Full,
    #[error("an allow entry cannot be a dry run: it drops nothing")]
    DryAllow,
    #[error("{target} is not on the {} list", list.as_str())]
    Missing { target: Target, list: List },
    #[error(
        "{target} is on the {} list by the {source}: take it out there and reload (SIGHUP)",
        list.as_str(), source = .by
    )]
    NotByCommand {
        target: Target,
        list: List,
        by: Source,
    },
}

/// The allow and the block list.
#[derive(Debug, Default)]
pub struct Lists {
    entries: BTreeMap<Key, Entry>,
    /// Entries that end, in the order in which they do.
    ends: BTreeSet<(u64, Key)>,
    ports: usize,
    /// Counters that were in use, the oldest first.
    freed: VecDeque<u32>,
    /// Counters that were never in use start here.
    unused: u32,
    /// Counters that are in use again, and have to be zeroed.
    reused: Vec<u32>,
    /// An earlier process may have used any counter.
    resumed: bool,
}

impl Lists {
    /// Puts an entry on its list, or replaces what the same source has said of the same target;
    /// its hits are kept then. Returns whether it is new.
    ///
    /// # Errors
    /// [`ListError`] if there is no room, or an allow entry is meant as a dry run.
    pub fn add(&mut self, new: NewEntry, now: Timestamp) -> Result<bool, ListError> {
        let NewEntry {
            target,
            list,
            source,
            reason,
            dry_run,
            until_ns,
        } = new;
        if dry_run && list == List::Allow {
            return Err(ListError::DryAllow);
        }
        let key = Key {
            target,
            list,
            source,
        };
        let old = self.entries.get(&key).map(|old| (old.hits, old.until_ns));
        let hits = match old {
            Some((hits, until_ns)) => {
                self.forget_end(until_ns, &key);
                hits
            }
            None => self.new_counter(&key)?,
        };
        if let Some(until_ns) = until_ns {
            self.ends.insert((until_ns, key.clone()));
        }
        let entry = Entry {
            reason: shortened(reason),
            dry_run,
            since: now,
            until_ns,
            hits,
        };
        self.entries.insert(key, entry);
        Ok(old.is_none())
    }

    fn new_counter(&mut self, key: &Key) -> Result<u32, ListError> {
        let is_port = matches!(key.target, Target::Port(_));
        if self.entries.len() >= LIST_ENTRIES || (is_port && self.ports >= LIST_PORTS) {
            return Err(ListError::Full);
        }
        self.ports += usize::from(is_port);
        let is_unused = (self.unused as usize) < LIST_ENTRIES;
        let counter = if is_unused {
            self.unused += 1;
            self.unused - 1
        } else {
            self.freed.pop_front().ok_or(ListError::Full)?
        };
        if !is_unused || self.resumed {
            self.reused.push(counter);
        }
        Ok(counter)
    }

    /// Goes on with what an earlier process has remembered, each entry with its hits. The lists
    /// have to be empty.
    pub(crate) fn resume(&mut self, records: Vec<(u32, Record)>) {
        self.resumed = true;
        let mut used = BTreeSet::new();
        for (counter, record) in records {
            let Some((new, since)) = record.entry() else {
                continue;
            };
            let is_known = (counter as usize) < LIST_ENTRIES && used.insert(counter);
            if !is_known {
                continue;
            }
            // The next counter to be given out.
            self.unused = counter;
            let before = self.entries.len();
            if self.add(new, since).is_err() || self.entries.len() == before {
                used.remove(&counter);
            }
        }
        self.unused = used.last().map_or(0, |last| last + 1);
        self.freed = (0..self.unused).filter(|one| !used.contains(one)).collect();
        self.reused.clear();
    }

    /// What outlives the process, by the index of its hits.
    pub(crate) fn records(&self) -> Vec<(u32, Record)> {
        let record = |(key, entry): (&Key, &Entry)| Some((entry.hits, Record::of(key, entry)?));
        self.iter().filter_map(record).collect()
    }

    fn forget_end(&mut self, until_ns: Option<u64>, key: &Key) {
        if let Some(until_ns) = until_ns {
            self.ends.remove(&(until_ns, key.clone()));
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.forget_end(entry.until_ns, key);
        self.ports -= usize::from(matches!(key.target, Target::Port(_)));
        self.freed.push_back(entry.hits);
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
        let ports = keep
            .iter()
            .filter(|(target, _)| matches!(target, Target::Port(_)))
            .count();
        let of_source = |key: &&Key| key.source == *source;
        let others = self.entries.len() - self.entries.keys().filter(of_source).count();
        let other_ports = self
            .entries
            .keys()
            .filter(|key| key.source != *source && matches!(key.target, Target::Port(_)))
            .count();
        if others + keep.len() > LIST_ENTRIES || other_ports + ports > LIST_PORTS {
            return Err(ListError::Full);
        }
        if new.iter().any(|new| new.dry_run && new.list == List::Allow) {
            return Err(ListError::DryAllow);
        }
        let mut changed = !gone.is_empty();
        for key in &gone {
            self.remove(key);
        }
        for entry in new {
            let key = Key {
                target: entry.target,
                list: entry.list,
                source: entry.source.clone(),
            };
            let same = self.entries.get(&key).is_some_and(|old| {
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
        self.entries.keys().filter(|key| key.list == list).count()
    }

    /// The flat form, for the kernel.
    #[must_use]
    pub fn compile(&self) -> Compiled {
        Compiled::new(self.iter())
    }

    /// Counters that have been given to another entry since the last call: to be zeroed before
    /// the lists are put into force.
    pub(crate) fn take_reused(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.reused)
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
        lists
            .add(entry(List::Block, "192.0.2.0/24", Source::Command), NOW)
            .unwrap();
        assert!(lists.replace(&Source::Config, Vec::new(), NOW).unwrap());
        assert_eq!(lists.delete(List::Block, target), Ok(()));
        assert_eq!(blocked(&lists), [""; 0]);
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
        assert!(lists.take_reused().is_empty());
        assert_eq!(lists.add(one, NOW), Ok(true));
        assert_eq!(lists.take_reused().len(), 1);
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
