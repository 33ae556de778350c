//! Requests that ask for the allow and block lists, or change them.

use serde::{Deserialize, Serialize};

use crate::lists::{List, Target};

/// What to do with which list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRequest {
    pub list: List,
    pub action: ListAction,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ListAction {
    /// Put targets on the list, or change what a command said of them before.
    Add {
        targets: Vec<Target>,
        /// How long; for good if it is missing.
        #[serde(default)]
        seconds: Option<u64>,
        #[serde(default)]
        reason: String,
        /// Block list: only count.
        #[serde(default)]
        dry_run: bool,
    },
    /// Take targets off the list.
    Del { targets: Vec<Target> },
    /// Show the list.
    List {
        limit: usize,
        /// Only entries that hold for this target.
        #[serde(default)]
        about: Option<Target>,
    },
}

impl ListRequest {
    pub(super) const fn is_change(&self) -> bool {
        !matches!(self.action, ListAction::List { .. })
    }
}
