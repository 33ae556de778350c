//! The allow and block lists of a running sensor: put into force, changed, shown, ended.

mod answer;
mod kernel;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};

use self::kernel::Kernel;
use super::Live;
use crate::{
    bpf::{DataPlane, PlaneError},
    core::time::Timestamp,
    lists::{FeedFile, Key, List, ListSettings, Lists, NewEntry, Remains, Source, Target},
    metrics::ListCounts,
    source::live::monotonic_ns,
};

/// The lists, and whether the kernel has them.
#[derive(Debug)]
pub(super) struct LiveLists {
    model: Lists,
    /// What feeds of an earlier process have in force, until the first configuration.
    of_feeds: Vec<NewEntry>,
    /// The kernel refused a change: it is tried again.
    is_behind: bool,
    /// It refused what shall outlive this process: that, too, is tried again.
    is_forgetful: bool,
    /// Entries that would not outlive this process, for lack of room.
    unremembered: usize,
}

impl LiveLists {
    /// Goes on with what an earlier process has left beside a pinned data plane, until
    /// [`configure`](Self::configure) brings it in line with the configuration.
    pub(super) fn resume(plane: &mut DataPlane) -> Self {
        Self::new(&plane.take_list_remains())
    }

    fn new(remains: &Remains) -> Self {
        let entries = remains.records.len();
        if entries > 0 {
            tracing::info!(entries, "Listed as before the restart");
        }
        Self {
            model: Lists::resume(&remains.records),
            of_feeds: remains.of_feeds(),
            // The kernel may hold more than that.
            is_behind: true,
            is_forgetful: false,
            unremembered: 0,
        }
    }

    /// Puts the configuration's entries and feeds on the lists. Returns whether all of them could
    /// be; a feed that could not be read keeps the entries that it had, also over a restart.
    pub(super) fn configure(
        &mut self,
        kernel: &mut impl Kernel,
        settings: &ListSettings,
        feeds: &[FeedFile],
        now: Timestamp,
    ) -> bool {
        let mut change = Change {
            model: &mut self.model,
            now,
            changed: false,
            good: true,
        };
        change.drop_unnamed(settings);
        change.replace(&Source::Config, settings.entries());
        let of_feeds = std::mem::take(&mut self.of_feeds);
        change.replace_feeds(settings, feeds, of_feeds);
        let Change {
            changed, mut good, ..
        } = change;
        if changed || self.is_behind {
            good &= self.install(kernel).is_ok();
        }
        good
    }

    /// Gives the kernel what the model says.
    fn install(&mut self, kernel: &mut impl Kernel) -> Result<(), PlaneError> {
        // First, so that a process that is killed in between leaves nothing forgotten that is in
        // force.
        self.remember(kernel);
        let installed = self.put_into_force(kernel);
        if let Err(error) = &installed {
            tracing::error!("The lists are not in force as a whole, trying again: {error}");
        }
        self.is_behind = installed.is_err();
        installed
    }

    /// Leaves what commands have entered to the process that comes after this one.
    fn remember(&mut self, kernel: &mut impl Kernel) {
        let records = self.model.records();
        match kernel.remember(&records) {
            Ok(unremembered) => {
                let mut before = self.unremembered;
                if std::mem::take(&mut self.is_forgetful) {
                    tracing::info!("What the lists remember is kept again");
                    before = 0;
                }
                if unremembered > before {
                    tracing::warn!(
                        entries = unremembered,
                        "So many entries would not outlive the sensor: list them in a feed"
                    );
                }
                self.unremembered = unremembered;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_forgetful, true) {
                    tracing::error!(
                        "The lists would not outlive the sensor, trying again: {error}"
                    );
                }
                // Which of them are kept nobody knows.
                self.unremembered = records.len();
            }
        }
    }

    fn put_into_force(&mut self, kernel: &mut impl Kernel) -> Result<(), PlaneError> {
        kernel.zero_hits(self.model.reused())?;
        self.model.zeroed();
        kernel.put(self.model.compile())
    }

    /// Takes off what has ended, of which the kernel has taken no heed since then.
    pub(super) fn expire(&mut self, kernel: &mut impl Kernel) {
        let ended = self.model.expire(monotonic_ns());
        for (Key { target, list, .. }, _) in &ended {
            tracing::info!(%target, list = list.as_str(), "The entry has ended");
        }
        if !ended.is_empty() || self.is_behind {
            // A failure is logged, and tried again.
            let _ = self.install(kernel);
        } else if self.is_forgetful {
            // What is in force stays untouched: each change makes all flows be judged anew.
            self.remember(kernel);
        }
    }

    pub(super) fn counts(&self) -> ListCounts {
        let count = |list| u64::try_from(self.model.count(list)).unwrap_or(u64::MAX);
        ListCounts {
            allow: count(List::Allow),
            block: count(List::Block),
            unremembered: u64::try_from(self.unremembered).unwrap_or(u64::MAX),
        }
    }
}

/// A new configuration on its way into the model.
struct Change<'a> {
    model: &'a mut Lists,
    now: Timestamp,
    changed: bool,
    /// Everything came to the lists.
    good: bool,
}

impl Change<'_> {
    /// Makes the entries of a source exactly these.
    fn replace(&mut self, source: &Source, entries: Vec<NewEntry>) {
        let count = entries.len();
        match self.model.replace(source, entries, self.now) {
            Ok(true) => {
                tracing::info!(%source, entries = count, "Listed");
                self.changed = true;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%source, "Its entries stay as they were: {error}");
                self.good = false;
            }
        }
    }

    /// Takes off the entries of feeds that the configuration does not name any more.
    fn drop_unnamed(&mut self, settings: &ListSettings) {
        let is_named = |source: &Source| match source {
            Source::Feed(path) => settings
                .feeds
                .iter()
                .any(|named| named.to_string_lossy() == **path),
            _ => true,
        };
        let sources: BTreeSet<_> = self.model.iter().map(|(key, _)| &key.source).collect();
        let gone: Vec<_> = sources
            .into_iter()
            .filter(|source| !is_named(source))
            .cloned()
            .collect();
        for source in gone {
            self.replace(&source, Vec::new());
        }
    }

    /// Puts the feeds on the lists. `earlier` is what those of an earlier process have in force: of
    /// which feed an entry was is not known, so that all stay until every feed can be read.
    fn replace_feeds(
        &mut self,
        settings: &ListSettings,
        feeds: &[FeedFile],
        mut earlier: Vec<NewEntry>,
    ) {
        let mut all_read = true;
        let mut read: HashSet<Target> = HashSet::new();
        for (path, feed) in feeds {
            let source = Source::Feed(path.to_string_lossy().into());
            let feed = match feed {
                Ok(feed) => feed,
                Err(error) => {
                    let kept = self.model.count_of(&source);
                    tracing::error!(
                        feed = %path.display(),
                        kept,
                        "It cannot be read, and keeps the entries it had: {error}"
                    );
                    all_read = false;
                    continue;
                }
            };
            if let Some(bad) = &feed.first_bad {
                tracing::warn!(
                    feed = %path.display(),
                    skipped = feed.bad,
                    "Lines that name nothing, the first is {}: {}",
                    bad.line,
                    bad.error
                );
            }
            if !earlier.is_empty() {
                read.extend(&feed.targets);
            }
            self.replace(&source, settings.feed_entries(&source, feed));
        }
        if all_read {
            self.replace(&Source::EarlierFeeds, Vec::new());
            return;
        }
        self.good = false;
        earlier.retain(|entry| !read.contains(&entry.target));
        let entries = earlier.len();
        if entries == 0 {
            return;
        }
        match self.model.replace(&Source::EarlierFeeds, earlier, self.now) {
            Ok(_) => {
                tracing::warn!(
                    entries,
                    "What feeds had in force before the restart stays until all of them can be read"
                );
                self.changed = true;
            }
            Err(error) => tracing::error!(
                entries,
                "What feeds had in force before the restart is so no more: {error}"
            ),
        }
    }
}

impl Live {
    /// Puts the lists of the configuration into force; returns whether all of them are.
    pub(super) fn configure_lists(&mut self, feeds: &[FeedFile]) -> bool {
        let now = self.now();
        let good = self
            .lists
            .configure(&mut self.plane, &self.config.lists, feeds, now);
        self.snapshot.lists = self.lists.counts();
        good
    }

    pub(super) fn expire_lists(&mut self) {
        self.lists.expire(&mut self.plane);
        self.snapshot.lists = self.lists.counts();
    }

    pub(super) fn set_pass_all(&mut self, on: bool) -> Result<(), PlaneError> {
        self.plane.set_pass_all(on)?;
        if on != self.snapshot.pass_all {
            tracing::warn!(
                on,
                "The kill switch: while it is on, no list and no guard is asked"
            );
        }
        self.snapshot.pass_all = on;
        Ok(())
    }
}
