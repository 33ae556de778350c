//! Where things are in the file: keys with their lines, and those that nobody knows.

use std::{collections::BTreeMap, ops::Range, path::Path};

use toml::de::{DeTable, DeValue};

use super::{
    ConfigError,
    keys::{Key, join, nearest},
};

/// Line of each key of the file, from 1, after every key has been found to be known.
///
/// # Errors
/// A syntax error, or the first unknown key with the nearest known one.
pub(super) fn lines(
    path: &Path,
    text: &str,
    known: &BTreeMap<String, Key>,
) -> Result<BTreeMap<String, usize>, ConfigError> {
    let root = DeTable::parse(text).map_err(|error| at(path, text, &error))?;
    let mut found = Vec::new();
    flatten(root.get_ref(), "", known, &mut found);
    let mut lines = BTreeMap::new();
    for (key, span) in found {
        let (line, column) = position(text, span.start);
        if !known.contains_key(&key) {
            let hint = nearest(&key, known).map_or_else(String::new, |nearest| {
                format!("; did you mean `{nearest}`?")
            });
            let path = path.to_owned();
            return Err(ConfigError::UnknownKey {
                path,
                line,
                column,
                key,
                hint,
            });
        }
        lines.insert(key, line);
    }
    Ok(lines)
}

/// All leaves with the span of their key, in the file's order.
fn flatten(
    table: &DeTable<'_>,
    prefix: &str,
    known: &BTreeMap<String, Key>,
    found: &mut Vec<(String, Range<usize>)>,
) {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in entries {
        let path = join(prefix, name.get_ref());
        let section = format!("{path}.");
        let is_section = known.keys().any(|key| key.starts_with(&section));
        match value.get_ref() {
            DeValue::Table(inner) if is_section => flatten(inner, &path, known, found),
            // A plain value in a section's place: serde's message is the better one.
            _ if is_section => {}
            _ => found.push((path, name.span())),
        }
    }
}

/// The deserializer's error with its place.
pub(super) fn at(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let (line, column) = position(text, error.span().map_or(0, |span| span.start));
    let message = error.message().to_owned();
    ConfigError::File {
        path: path.to_owned(),
        line,
        column,
        message,
    }
}

/// Line and column, both from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}
