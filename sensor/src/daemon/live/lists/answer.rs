//! What commands ask of the lists.

use serde_json::{Value, json};

use super::LiveLists;
use crate::{
    bpf::{DataPlane, PlaneError},
    core::{event::EveTime, time::Timestamp},
    daemon::{
        control::{ListAction, ListRequest},
        live::Live,
    },
    lists::{Entry, Key, List, NewEntry, Source, Target},
    source::live::monotonic_ns,
};

const NANOSECONDS: u64 = 1_000_000_000;
/// Entries in one answer.
const MAX_SHOWN: usize = 10_000;

impl LiveLists {
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
        found.sort_by_key(|(key, _)| key.source.is_feed());
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
    pub(in crate::daemon::live) fn answer_lists(
        &mut self,
        request: &ListRequest,
    ) -> Result<Value, String> {
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
    pub(in crate::daemon::live) fn answer_pass(
        &mut self,
        on: Option<bool>,
    ) -> Result<Value, String> {
        if let Some(on) = on {
            self.set_pass_all(on).map_err(|error| error.to_string())?;
        }
        Ok(json!({ "pass_all": self.snapshot.pass_all }))
    }
}
