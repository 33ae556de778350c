//! Entries in the form in which they outlive the process: see [`Record`].

use std::sync::Arc;

use sensor_ebpf::abi::{FilterPrefix, ListPort};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Entry, Key, List, NewEntry, Prefix, Source, Target};
use crate::core::time::Timestamp;

/// Bytes of a reason that are remembered.
const REASON: usize = 208;

/// [`Record::until_ns`] of an entry that does not end.
const FOR_GOOD: u64 = u64::MAX;

const NO_NET: FilterPrefix = FilterPrefix {
    prefix_len: 0,
    address: [0; 16],
};

/// Bits of [`Record::flags`].
mod flag {
    pub(super) const PORT: u32 = 1;
    pub(super) const ALLOW: u32 = 2;
    pub(super) const CONFIG: u32 = 4;
    pub(super) const DRY_RUN: u32 = 8;
}

/// An entry of a command or of the configuration, 256 bytes. Beside a pinned data plane there is a
/// map of these, by the index of the entry's hits. Feeds are too long for that, and are read
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Record {
    net: FilterPrefix,
    port: ListPort,
    /// Kernel time (`CLOCK_MONOTONIC`) at which it ends.
    until_ns: u64,
    since: u64,
    flags: u32,
    reason_len: u32,
    reason: [u8; REASON],
}

impl Record {
    /// `None` for what is not remembered.
    pub(crate) fn of(key: &Key, entry: &Entry) -> Option<Self> {
        let source = match key.source {
            Source::Command => 0,
            Source::Config => flag::CONFIG,
            Source::Feed(_) | Source::EarlierFeeds | Source::Detector(_) => return None,
        };
        let (net, port, kind) = match key.target {
            Target::Net(net) => (net.to_kernel(), ListPort::default(), 0),
            Target::Port(port) => (NO_NET, port, flag::PORT),
        };
        let list = match key.list {
            List::Allow => flag::ALLOW,
            List::Block => 0,
        };
        let dry_run = if entry.dry_run { flag::DRY_RUN } else { 0 };
        let len = entry.reason.floor_char_boundary(REASON);
        let mut reason = [0; REASON];
        for (to, from) in reason.iter_mut().zip(entry.reason.bytes().take(len)) {
            *to = from;
        }
        Some(Self {
            net,
            port,
            until_ns: entry.until_ns.unwrap_or(FOR_GOOD),
            since: entry.since.0,
            flags: source | kind | list | dry_run,
            reason_len: len as u32,
            reason,
        })
    }

    pub(crate) const fn is_of_command(&self) -> bool {
        self.flags & flag::CONFIG == 0
    }

    /// The entry, and since when it is listed; `None` if the reason is no text.
    pub(crate) fn entry(&self) -> Option<(NewEntry, Timestamp)> {
        let is = |flag| self.flags & flag != 0;
        let reason = self.reason.get(..self.reason_len as usize)?;
        let reason: Arc<str> = std::str::from_utf8(reason).ok()?.into();
        let entry = NewEntry {
            target: if is(flag::PORT) {
                Target::Port(self.port)
            } else {
                Target::Net(Prefix::from_kernel(self.net))
            },
            list: if is(flag::ALLOW) {
                List::Allow
            } else {
                List::Block
            },
            source: if is(flag::CONFIG) {
                Source::Config
            } else {
                Source::Command
            },
            reason,
            dry_run: is(flag::DRY_RUN),
            until_ns: (self.until_ns != FOR_GOOD).then_some(self.until_ns),
        };
        Some((entry, Timestamp(self.since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::Lists;

    fn new(list: List, target: &str, source: Source) -> NewEntry {
        NewEntry {
            target: target.parse().unwrap(),
            list,
            source,
            reason: "a reason".into(),
            dry_run: false,
            until_ns: None,
        }
    }

    /// What tells of the entries, hits included.
    fn shown(lists: &Lists) -> Vec<(Key, Entry)> {
        let entries = lists.iter();
        entries
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect()
    }

    #[test]
    fn what_is_remembered_comes_back_as_it_was() {
        let mut lists = Lists::default();
        for target in [
            "192.0.2.1",
            "192.0.2.0/24",
            "2001:db8::/32",
            "::/0",
            "udp/53",
        ] {
            for list in [List::Allow, List::Block] {
                for source in [Source::Command, Source::Config] {
                    lists.add(new(list, target, source), Timestamp(7)).unwrap();
                }
            }
        }
        let mut dry = new(List::Block, "tcp/22", Source::Command);
        (dry.dry_run, dry.until_ns) = (true, Some(100));
        lists.add(dry, Timestamp(9)).unwrap();
        let again = Lists::resume(&lists.records());
        assert_eq!(shown(&again), shown(&lists));
    }

    #[test]
    fn commands_entries_are_remembered_before_those_of_the_configuration() {
        let mut lists = Lists::default();
        for (target, source) in [
            ("10.0.0.1", Source::Config),
            ("10.0.0.2", Source::Command),
            ("10.0.0.3", Source::Config),
            ("tcp/22", Source::Command),
        ] {
            lists
                .add(new(List::Block, target, source), Timestamp(0))
                .unwrap();
        }
        let records = lists.records();
        let counters: Vec<_> = records.iter().map(|(counter, _)| *counter).collect();
        assert_eq!(counters, [1, 3, 0, 2]);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut lists = Lists::default();
        let mut long = new(List::Block, "192.0.2.1", Source::Command);
        long.reason = format!("x{}", "\u{e4}".repeat(150)).into();
        lists.add(long, Timestamp(0)).unwrap();
        let again = Lists::resume(&lists.records());
        let entries = shown(&again);
        assert_eq!(&*entries[0].1.reason, format!("x{}", "\u{e4}".repeat(103)));
    }

    #[test]
    fn counters_that_an_earlier_process_may_have_used_are_zeroed() {
        let mut lists = Lists::default();
        let feed = Source::Feed("drop.txt".into());
        for target in ["192.0.2.1", "192.0.2.2"] {
            lists
                .add(new(List::Block, target, feed.clone()), Timestamp(0))
                .unwrap();
        }
        lists
            .add(new(List::Block, "192.0.2.3", Source::Command), Timestamp(0))
            .unwrap();
        let mut again = Lists::resume(&lists.records());
        assert!(again.reused().is_empty());
        for target in ["192.0.2.1", "192.0.2.2", "192.0.2.4"] {
            again
                .add(new(List::Block, target, feed.clone()), Timestamp(0))
                .unwrap();
        }
        let mut hits: Vec<_> = shown(&again).iter().map(|(_, entry)| entry.hits).collect();
        let reused = again.reused();
        assert_eq!(reused.len(), 3);
        assert!(!reused.contains(&2), "the command's: {reused:?}");
        hits.sort_unstable();
        hits.dedup();
        assert_eq!(hits.len(), 4, "each has its own");
    }
}
