//! `INDEX.tsv`: which captures there are and what decides them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// One row.
#[derive(Debug)]
pub(super) struct Case {
    /// The capture as the index names it.
    pub(super) name: String,
    /// The same, as a path.
    pub(super) capture: PathBuf,
    /// The expectation as the index names it: `folder/{log,log}` for several files.
    pub(super) expected: String,
    pub(super) root: PathBuf,
    pub(super) kind: String,
}

impl Case {
    /// The expectation, where it is one file.
    pub(super) fn text(&self) -> Result<String> {
        let path = self.root.join(&self.expected);
        std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
    }

    /// The files of the expectation.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let Some((folder, list)) = self.expected.split_once('{') else {
            return vec![self.root.join(&self.expected)];
        };
        let list = list.trim_end_matches('}').split(',');
        list.map(|file| self.root.join(folder).join(file)).collect()
    }
}

pub(super) fn read(root: &Path) -> Result<Vec<Case>> {
    let path = root.join("INDEX.tsv");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let row = |line: &str| {
        let mut columns = line.split('\t').skip(1).map(str::to_owned);
        let name = columns.next()?;
        let expected = columns.nth(1)?;
        let kind = columns.nth(1)?;
        Some(Case {
            capture: root.join(&name),
            name,
            expected,
            root: root.to_owned(),
            kind,
        })
    };
    let rows = text.lines().skip(1).filter(|line| !line.is_empty());
    rows.map(|line| row(line).with_context(|| format!("bad row: {line}")))
        .collect()
}
