//! What an entry of the lists is, and why one is refused.

use std::{fmt, sync::Arc};

use sensor_ebpf::abi::{LIST_ENTRIES, LIST_PORTS};
use serde::{Deserialize, Serialize};

use super::Target;
use crate::core::time::Timestamp;

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
    /// Feeds of an earlier process, of which one cannot be read any more: see
    /// [`Remains::of_feeds`](super::Remains::of_feeds).
    EarlierFeeds,
    /// A detector, by its name.
    Detector(&'static str),
}

impl Source {
    /// Whether it is a feed: its entries are many, and not remembered.
    #[must_use]
    pub const fn is_feed(&self) -> bool {
        matches!(self, Self::Feed(_) | Self::EarlierFeeds)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command => f.write_str("command"),
            Self::Config => f.write_str("config"),
            Self::Feed(path) => write!(f, "feed {path}"),
            Self::EarlierFeeds => f.write_str("feeds before the restart"),
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

impl NewEntry {
    pub(super) fn key(&self) -> Key {
        Key {
            target: self.target,
            list: self.list,
            source: self.source.clone(),
        }
    }

    /// Whether it can be an entry at all.
    pub(super) fn check(&self) -> Result<(), ListError> {
        if self.dry_run && self.list == List::Allow {
            return Err(ListError::DryAllow);
        }
        Ok(())
    }
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
