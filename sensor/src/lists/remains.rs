//! What an earlier process has left of its lists beside a pinned data plane.

use std::{collections::HashSet, sync::Arc};

use super::{Compiled, List, NewEntry, Record, Source, Target};

/// Never: the end of all entries of feeds.
const NEVER: u64 = u64::MAX;

/// What is remembered, and what is in force.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    /// Entries of commands and of the configuration, by the index of their hits.
    pub(crate) records: Vec<(u32, Record)>,
    /// All that the programs look up.
    pub(crate) in_force: Compiled,
}

impl Remains {
    /// The entries of the earlier process's feeds, of which there are no records: what blocks for
    /// good and counts its hits where no record does. Which feed it was is not known.
    ///
    /// Where prefixes nest, each counter first appears at the entry that it belongs to. A feed's
    /// entry whose target a command or the configuration blocks as well is hidden by that.
    pub(crate) fn of_feeds(&self) -> Vec<NewEntry> {
        let mut seen: HashSet<u32> = self.records.iter().map(|(counter, _)| *counter).collect();
        let reason: Arc<str> = "".into();
        let exact = self.in_force.exact.iter();
        let mut nets: Vec<_> = exact.chain(&self.in_force.prefixes).collect();
        nets.sort_unstable_by_key(|(prefix, _)| *prefix);
        let nets = nets
            .into_iter()
            .map(|(prefix, entry)| (Target::Net(*prefix), entry));
        let ports = self.in_force.ports.iter();
        let ports = ports.map(|(port, entry)| (Target::Port(*port), entry));
        let mut entries = Vec::new();
        for (target, entry) in nets.chain(ports) {
            let blocks = entry.block_until_ns == NEVER && seen.insert(entry.block_hits);
            let would = entry.dry_until_ns == NEVER && seen.insert(entry.dry_hits);
            if blocks || would {
                entries.push(NewEntry {
                    target,
                    list: List::Block,
                    source: Source::EarlierFeeds,
                    reason: reason.clone(),
                    dry_run: !blocks,
                    until_ns: None,
                });
            }
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{core::time::Timestamp, lists::Lists};

    fn add(lists: &mut Lists, source: &Source, list: List, targets: &[&str], until: Option<u64>) {
        for target in targets {
            let new = NewEntry {
                target: target.parse().unwrap(),
                list,
                source: source.clone(),
                reason: "".into(),
                dry_run: false,
                until_ns: until,
            };
            lists.add(new, Timestamp(0)).unwrap();
        }
    }

    fn left(lists: &Lists) -> Vec<(String, bool)> {
        let remains = Remains {
            records: lists.records(),
            in_force: lists.compile(),
        };
        let entries = remains.of_feeds().into_iter();
        entries
            .map(|entry| (entry.target.to_string(), entry.dry_run))
            .collect()
    }

    #[test]
    fn only_what_feeds_block_is_theirs() {
        let mut lists = Lists::default();
        let feed = Source::Feed("drop.txt".into());
        let theirs = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "192.0.2.1", "::/0"];
        add(&mut lists, &feed, List::Block, &theirs, None);
        add(&mut lists, &feed, List::Block, &["tcp/23"], None);
        // Within, around and beside them.
        let command = Source::Command;
        let commands = ["10.1.2.0/24", "0.0.0.0/0", "198.51.100.1", "udp/9"];
        add(&mut lists, &command, List::Block, &commands, None);
        add(&mut lists, &command, List::Block, &["10.9.9.9"], Some(7));
        let config = Source::Config;
        let allowed = ["10.1.2.4", "10.2.0.0/16", "192.0.2.0/24", "tcp/22"];
        add(&mut lists, &config, List::Allow, &allowed, None);
        let mut expected: Vec<_> = theirs
            .iter()
            .chain(&["tcp/23"])
            .map(|one| ((*one).to_owned(), false))
            .collect();
        expected.sort();
        let mut found = left(&lists);
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn dry_runs_stay_dry_runs() {
        let mut lists = Lists::default();
        let feed = Source::Feed("drop.txt".into());
        let new = NewEntry {
            target: "10.0.0.0/8".parse().unwrap(),
            list: List::Block,
            source: feed,
            reason: "".into(),
            dry_run: true,
            until_ns: None,
        };
        lists.add(new, Timestamp(0)).unwrap();
        add(
            &mut lists,
            &Source::Command,
            List::Block,
            &["10.0.0.1"],
            None,
        );
        assert_eq!(left(&lists), [("10.0.0.0/8".to_owned(), true)]);
        assert_eq!(left(&Lists::default()), []);
    }
}
