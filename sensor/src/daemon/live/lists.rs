//! The allow and block lists of a running sensor: put into force, changed, shown, ended.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Live;
use crate::{
    bpf::{DataPlane, PlaneError},
    config::Config,
    core::{event::EveTime, time::Timestamp},
    daemon::control::{ListAction, ListRequest},
    lists::{Entry, FeedFile, Key, List, Lists, NewEntry, Source, Target},
    metrics::ListCounts,
    source::live::monotonic_ns,
};

const NANOSECONDS: u64 = 1_000_000_000;
/// Entries in one answer.
const MAX_SHOWN: usize = 10_000;

/// The lists, and whether the kernel has them.
#[derive(Debug)]
pub(super) struct LiveLists {
    model: Lists,
    /// The kernel refused a change: it is tried again.
    is_behind: bool,
}

impl LiveLists {
    /// Goes on with what an earlier process has left beside a pinned data plane, until
    /// [`configure`](Self::configure) brings it in line with the configuration.
    pub(super) fn resume(plane: &mut DataPlane) -> Self {
        let remembered = plane.take_remembered_lists();
        let mut model = Lists::default();
        if !remembered.is_empty() {
            tracing::info!(entries = remembered.len(), "Listed as before the restart");
        }
        model.resume(remembered);
        Self {
            model,
            // The kernel may hold more than that.
            is_behind: true,
        }
    }

    /// Puts the configuration's entries and feeds on the lists. Returns whether all of them could
    /// be; a feed that could not be read keeps the entries that it had.
    pub(super) fn configure(
        &mut self,
        plane: &mut DataPlane,
        config: &Config,
        feeds: &[FeedFile],
        now: Timestamp,
    ) -> bool {
        let settings = &config.lists;
        let (mut good, mut all_read) = (true, true);
        let mut changed = false;
        let mut replace = |model: &mut Lists, source: &Source, entries: Vec<NewEntry>| {
            let count = entries.len();
            match model.replace(source, entries, now) {
                Ok(true) => {
                    tracing::info!(%source, entries = count, "Listed");
                    changed = true;
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%source, "Its entries stay as they were: {error}");
                    good = false;
                }
            }
        };
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
            replace(&mut self.model, &source, Vec::new());
        }
        replace(&mut self.model, &Source::Config, settings.entries());
        for (path, feed) in feeds {
            let source = Source::Feed(path.to_string_lossy().into());
            match feed {
                Ok(feed) => {
                    if let Some(bad) = &feed.first_bad {
                        tracing::warn!(
                            feed = %path.display(),
                            skipped = feed.bad,
                            "Lines that name nothing, the first is {}: {}",
                            bad.line,
                            bad.error
                        );
                    }
                    let entries = settings.feed_entries(&source, feed);
                    replace(&mut self.model, &source, entries);
                }
                Err(error) => {
                    tracing::error!(feed = %path.display(), "It keeps the entries it had: {error}");
                    all_read = false;
                }
            }
        }
        if changed || self.is_behind {
            good &= self.install(plane).is_ok();
        }
        good && all_read
    }

    /// Gives the kernel what the model says.
    fn install(&mut self, plane: &mut DataPlane) -> Result<(), PlaneError> {
        // First, so that a process that is killed in between leaves nothing forgotten that is in
        // force.
        match plane.remember_lists(&self.model.records()) {
            Ok(0) => {}
            Ok(forgotten) => tracing::warn!(
                forgotten,
                "So many entries would not outlive the sensor: list them in a feed"
            ),
            Err(error) => tracing::error!("The lists would not outlive the sensor: {error}"),
        }
        let reused = self.model.take_reused();
        let result = plane.set_lists(self.model.compile(), &reused);
        self.is_behind = result.is_err();
        if let Err(error) = &result {
            tracing::error!("The lists are not in force as a whole, trying again: {error}");
        }
        result
    }

    /// Takes off what has ended, of which the kernel has taken no heed since then.
    pub(super) fn expire(&mut self, plane: &mut DataPlane) {
        let ended = self.model.expire(monotonic_ns());
        for (Key { target, list, .. }, _) in &ended {
            tracing::info!(%target, list = list.as_str(), "The entry has ended");
        }
        if !ended.is_empty() || self.is_behind {
            // A failure is logged, and tried again.
            let _ = self.install(plane);
        }
    }

    pub(super) fn counts(&self) -> ListCounts {
        let count = |list| u64::try_from(self.model.count(list)).unwrap_or(u64::MAX);
        ListCounts {
            allow: count(List::Allow),
            block: count(List::Block),
        }
    }

    fn add(&mut self, request: Added<'_>, now: Timestamp) -> Result<Value, String> {
        let Added {
            list,
            targets,
            seconds,
            reason,
            dry_run,
        } = request;
        let until_ns = seconds
            .map(|seconds| monotonic_ns().saturating_add(seconds.saturating_mul(NANOSECONDS)));
        let mut added = 0_usize;
        for target in targets {
            let new = NewEntry {
                target: *target,
                list,
                source: Source::Command,
                reason: reason.into(),
                dry_run,
                until_ns,
            };
            added += usize::from(
                self.model
                    .add(new, now)
                    .map_err(|error| error.to_string())?,
            );
            tracing::info!(%target, list = list.as_str(), seconds, reason, dry_run, "Listed");
        }
        Ok(json!({ "added": added, "changed": targets.len() - added }))
    }

    fn delete(&mut self, list: List, targets: &[Target]) -> Result<Value, String> {
        for target in targets {
            let deleted = self.model.delete(list, *target);
            deleted.map_err(|error| error.to_string())?;
            tracing::info!(%target, list = list.as_str(), "Taken off the list");
        }
        Ok(json!({ "deleted": targets.len() }))
    }

    /// What commands and detectors listed comes first, so that a long feed hides nothing.
    fn show(
        &self,
        plane: &DataPlane,
        list: List,
        limit: usize,
        about: Option<Target>,
    ) -> Result<Value, String> {
        let is_about = |target: Target| match (about, target) {
            (None, _) => true,
            (Some(Target::Net(one)), Target::Net(other)) => other.covers(one),
            (Some(one), other) => one == other,
        };
        let mut found: Vec<_> = self
            .model
            .iter()
            .filter(|(key, _)| key.list == list && is_about(key.target))
            .collect();
        let total = found.len();
        found.sort_by_key(|(key, _)| matches!(key.source, Source::Feed(_)));
        found.truncate(limit.min(MAX_SHOWN));
        let entries: Result<Vec<_>, _> = found
            .into_iter()
            .map(|(key, entry)| shown(plane, key, entry))
            .collect();
        let entries = entries.map_err(|error| error.to_string())?;
        Ok(json!({ "list": list, "total": total, "entries": entries }))
    }
}

/// What is to be put on a list by a command.
struct Added<'a> {
    list: List,
    targets: &'a [Target],
    seconds: Option<u64>,
    reason: &'a str,
    dry_run: bool,
}

fn shown(plane: &DataPlane, key: &Key, entry: &Entry) -> Result<Value, PlaneError> {
    let hits = plane.list_hits(entry)?;
    let now = monotonic_ns();
    let seconds_since = |then: u64| now.saturating_sub(then) / NANOSECONDS;
    Ok(json!({
        "target": key.target.to_string(),
        "source": key.source.to_string(),
        "reason": &*entry.reason,
        "dry_run": entry.dry_run,
        "since": EveTime(entry.since),
        "seconds_left": entry.until_ns.map(|end| end.saturating_sub(now).div_ceil(NANOSECONDS)),
        "packets": hits.packets,
        "bytes": hits.bytes,
        "last_hit_seconds_ago": (hits.packets > 0).then(|| seconds_since(hits.last_ns)),
    }))
}

impl Live {
    /// Puts the lists of the configuration into force; returns whether all of them are.
    pub(super) fn configure_lists(&mut self, feeds: &[FeedFile]) -> bool {
        let now = self.now();
        let good = self
            .lists
            .configure(&mut self.plane, &self.config, feeds, now);
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

    pub(super) fn answer_lists(&mut self, request: &ListRequest) -> Result<Value, String> {
        let list = request.list;
        let now = self.now();
        let done = match &request.action {
            ListAction::List { limit, about } => {
                return self.lists.show(&self.plane, list, *limit, *about);
            }
            ListAction::Add {
                targets,
                seconds,
                reason,
                dry_run,
            } => {
                if list == List::Block {
                    self.check_enforced()?;
                }
                let added = Added {
                    list,
                    targets,
                    seconds: *seconds,
                    reason,
                    dry_run: *dry_run,
                };
                self.lists.add(added, now)
            }
            ListAction::Del { targets } => self.lists.delete(list, targets),
        };
        // Of several targets some may be changed before one is refused.
        let installed = self.lists.install(&mut self.plane);
        self.snapshot.lists = self.lists.counts();
        let done = done?;
        installed.map_err(|error| error.to_string())?;
        Ok(done)
    }

    /// The kill switch: asks, or turns it.
    pub(super) fn answer_pass(&mut self, on: Option<bool>) -> Result<Value, String> {
        if let Some(on) = on {
            self.set_pass_all(on).map_err(|error| error.to_string())?;
        }
        Ok(json!({ "pass_all": self.snapshot.pass_all }))
    }
}
