//! The known keys, taken from the types by way of their JSON Schema: there is no second list.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;

/// A key that has a value of its own (not a section).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What it does.
    pub description: String,
}

/// The configuration file's JSON Schema.
#[must_use]
pub fn json_schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value()
}

/// Every key by its dotted path, `sampling.one_in`.
#[must_use]
pub fn known_keys() -> BTreeMap<String, Key> {
    let mut keys = BTreeMap::new();
    collect(&json_schema(), "", &mut keys);
    keys
}

fn collect(schema: &Value, prefix: &str, keys: &mut BTreeMap<String, Key>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (name, property) in properties {
        let path = join(prefix, name);
        if property.get("properties").is_some() {
            collect(property, &path, keys);
        } else {
            let description = property.get("description").and_then(Value::as_str);
            keys.insert(
                path,
                Key {
                    description: description.unwrap_or_default().to_owned(),
                },
            );
        }
    }
}

/// `prefix.name`, or `name` at the top.
pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

/// The variable that sets a key: `SENSOR_SAMPLING_ONE_IN`.
pub(super) fn variable(key: &str) -> String {
    format!("SENSOR_{}", key.to_ascii_uppercase().replace('.', "_"))
}

/// The known key, or section, that an unknown one was probably meant to be.
pub(super) fn nearest(unknown: &str, keys: &BTreeMap<String, Key>) -> Option<String> {
    let name = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
    keys.keys()
        .flat_map(|key| {
            let sections = key.match_indices('.').map(|(at, _)| key[..at].to_owned());
            std::iter::once(key.clone()).chain(sections)
        })
        .map(|path| {
            // A right name in the wrong section is as near as a slip of the pen.
            let by_path = strsim::jaro_winkler(unknown, &path);
            let by_name = strsim::jaro_winkler(&name(unknown), &name(&path));
            (by_path.max(by_name), by_path, path)
        })
        .max_by(|a, b| {
            (a.0, a.1)
                .partial_cmp(&(b.0, b.1))
                .unwrap_or(std::cmp::Ordering::Equal)
        })
        .filter(|(score, _, _)| *score > 0.8)
        .map(|(_, _, path)| path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_is_described() {
        for (path, key) in known_keys() {
            assert!(!key.description.is_empty(), "`{path}` has no doc comment");
        }
    }

    #[test]
    fn variables_are_unambiguous() {
        let keys = known_keys();
        let variables: BTreeSet<_> = keys.keys().map(|key| variable(key)).collect();
        assert_eq!(variables.len(), keys.len());
    }

    #[test]
    fn nearest_key_is_found_across_sections() {
        let keys = known_keys();
        assert_eq!(
            nearest("sampling.onein", &keys).as_deref(),
            Some("sampling.one_in")
        );
        assert_eq!(nearest("one_in", &keys).as_deref(), Some("sampling.one_in"));
        assert_eq!(nearest("interface", &keys).as_deref(), Some("interfaces"));
        assert_eq!(nearest("samplng", &keys).as_deref(), Some("sampling"));
        assert_eq!(nearest("zzzz", &keys), None);
    }
}
