//! The section `[lists]` of the configuration, and the files that it names.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Feed, List, NewEntry, Source, Target};

/// A feed's file is no longer than this, bytes: a full list of IPv6 prefixes has 10 MB.
const MAX_FEED: u64 = 64 << 20;

/// Allow and block lists, matched against the source of received packets; ports (`tcp/22`)
/// against their destination. Allowing wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListSettings {
    /// Addresses, prefixes and ports that neither the block list nor the guard stops.
    #[schemars(with = "Vec<String>")]
    pub allow: Vec<Target>,
    /// Addresses, prefixes and ports whose packets are dropped.
    #[schemars(with = "Vec<String>")]
    pub block: Vec<Target>,
    /// Files of addresses and prefixes to block, one a line; `#` and `;` begin a comment.
    pub feeds: Vec<PathBuf>,
    /// Only count what the file and the feeds block, and drop nothing.
    pub dry_run: bool,
}

/// A feed's file, as it was read.
pub(crate) type FeedFile = (PathBuf, io::Result<Feed>);

impl ListSettings {
    /// Reads the files of the feeds.
    pub(crate) fn read_feeds(&self) -> Vec<FeedFile> {
        let read = |path: &PathBuf| (path.clone(), read_feed(path));
        self.feeds.iter().map(read).collect()
    }

    /// The entries that the section itself holds.
    pub(crate) fn entries(&self) -> Vec<NewEntry> {
        let reason: Arc<str> = "".into();
        let entry = |target: &Target, list, dry_run| NewEntry {
            target: *target,
            list,
            source: Source::Config,
            reason: reason.clone(),
            dry_run,
            until_ns: None,
        };
        let allow = self.allow.iter();
        let block = self.block.iter();
        allow
            .map(|target| entry(target, List::Allow, false))
            .chain(block.map(|target| entry(target, List::Block, self.dry_run)))
            .collect()
    }

    /// The entries of a feed.
    pub(crate) fn feed_entries(&self, source: &Source, feed: &Feed) -> Vec<NewEntry> {
        let reason: Arc<str> = "".into();
        let entry = |target: &Target| NewEntry {
            target: *target,
            list: List::Block,
            source: source.clone(),
            reason: reason.clone(),
            dry_run: self.dry_run,
            until_ns: None,
        };
        feed.targets.iter().map(entry).collect()
    }
}

fn read_feed(path: &Path) -> io::Result<Feed> {
    let mut text = Vec::new();
    let mut file = fs::File::open(path)?.take(MAX_FEED + 1);
    file.read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FEED {
        return Err(io::Error::other("it is longer than 64 MiB"));
    }
    // What is no text names nothing, and is counted as such.
    Ok(Feed::parse(&String::from_utf8_lossy(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_checked_where_they_are_written() {
        let parsed: ListSettings =
            toml::from_str("allow = [\"tcp/22\"]\nblock = [\"192.0.2.0/24\"]\n").unwrap();
        assert_eq!(parsed.entries().len(), 2);
        let error = toml::from_str::<ListSettings>("block = [\"10.0.0.1/8\"]\n").unwrap_err();
        assert!(error.to_string().contains("10.0.0.0/8"), "{error}");
    }

    #[test]
    fn a_feed_that_is_too_long_or_missing_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("feed.txt");
        assert!(read_feed(&path).is_err());
        fs::write(&path, "192.0.2.1\n\u{fffd}\n").unwrap();
        let feed = read_feed(&path).unwrap();
        assert_eq!((feed.targets.len(), feed.bad), (1, 1));
        fs::File::create(&path)
            .unwrap()
            .set_len(MAX_FEED + 1)
            .unwrap();
        let error = read_feed(&path).unwrap_err();
        assert!(error.to_string().contains("64 MiB"), "{error}");
    }
}
