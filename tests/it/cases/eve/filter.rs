//! What a `match` block means.

use serde_json::Value;
use serde_yaml_ng::{Mapping, Value as Yaml};

/// How many records match all of a block.
pub(super) fn count(events: &[Value], matches: &Mapping) -> u64 {
    events.iter().filter(|event| all(event, matches)).count() as u64
}

fn all(event: &Value, matches: &Mapping) -> bool {
    let pairs = matches
        .iter()
        .filter_map(|(key, value)| Some((key.as_str()?, value)));
    let names = |value: &Yaml| -> Vec<String> {
        let list = value
            .as_sequence()
            .map_or_else(|| vec![value.clone()], Clone::clone);
        list.iter()
            .filter_map(Yaml::as_str)
            .map(str::to_owned)
            .collect()
    };
    let mut pairs = pairs;
    pairs.all(|(key, expected)| match key {
        "has-key" => names(expected)
            .iter()
            .all(|name| find(event, name).is_some()),
        "not-has-key" => names(expected)
            .iter()
            .all(|name| find(event, name).is_none()),
        _ => find(event, field(key)).is_some_and(|found| compare(found, operator(key), expected)),
    })
}

/// The operator at the end of a key, if there is one.
fn operator(key: &str) -> &str {
    key.rsplit('.')
        .next()
        .filter(|part| part.starts_with("__"))
        .unwrap_or_default()
}

/// A key without its operator.
pub(super) fn field(key: &str) -> &str {
    key.rsplit_once('.')
        .filter(|(_, part)| part.starts_with("__"))
        .map_or(key, |(field, _)| field)
}

fn compare(found: &Value, operator: &str, expected: &Yaml) -> bool {
    match operator {
        "" => equal(found, expected),
        "__len" => {
            let length = match found {
                Value::Array(items) => items.len(),
                Value::Object(fields) => fields.len(),
                Value::String(text) => text.chars().count(),
                _ => return false,
            };
            expected.as_u64() == Some(length as u64)
        }
        "__contains" => match found {
            Value::Array(items) => items.iter().any(|item| equal(item, expected)),
            Value::String(text) => text.contains(&plain(expected)),
            _ => false,
        },
        "__find" => found
            .as_str()
            .is_some_and(|text| text.contains(&plain(expected))),
        "__startswith" => found
            .as_str()
            .is_some_and(|text| text.starts_with(&plain(expected))),
        _ => false,
    }
}

/// Equal as values, or as the text that both print as: YAML reads `8180` as a number.
fn equal(found: &Value, expected: &Yaml) -> bool {
    match (found, expected) {
        (Value::Array(found), Yaml::Sequence(expected)) => {
            found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected)
                    .all(|(found, expected)| equal(found, expected))
        }
        (Value::Bool(found), Yaml::Bool(expected)) => found == expected,
        (Value::Bool(_), _) | (_, Yaml::Bool(_)) => false,
        (Value::String(found), _) => *found == plain(expected),
        (Value::Number(found), _) => found.to_string() == plain(expected),
        _ => false,
    }
}

fn plain(value: &Yaml) -> String {
    match value {
        Yaml::String(text) => text.clone(),
        Yaml::Number(number) => number.to_string(),
        Yaml::Bool(value) => value.to_string(),
        _ => String::new(),
    }
}

/// The value at `a.b[0].c`.
fn find<'a>(event: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(event, |value, part| {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => (
                name,
                Some(index.trim_end_matches(']').parse::<usize>().ok()?),
            ),
            None => (part, None),
        };
        let value = value.get(name)?;
        index.map_or(Some(value), |index| value.get(index))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(block: &str) -> bool {
        let event = serde_json::json!({
            "event_type": "http", "flag": true, "dns": { "flags": "8180", "list": ["ab", "cd"] },
            "rows": [{ "name": "x" }, { "name": "y" }], "port": 53
        });
        all(&event, &serde_yaml_ng::from_str(block).unwrap())
    }

    #[test]
    fn paths_operators_and_kinds_of_values() {
        for right in [
            "{event_type: http, port: 53, flag: true}",
            "{dns.flags: '8180', 'rows[1].name': y}",
            "{dns.flags: 8180}",
            "{rows.__len: 2, dns.list.__contains: cd, dns.flags.__startswith: '81', dns.flags.__find: '18'}",
            "{has-key: dns.flags, not-has-key: dns.other}",
            "{has-key: [dns, 'rows[0]'], dns.list: [ab, cd]}",
        ] {
            assert!(matches(right), "{right}");
        }
        for wrong in [
            "{port: 54}",
            "{flag: 'true'}",
            "{flag: false}",
            "{'rows[2].name': y}",
            "{dns.list: [ab]}",
            "{rows.__len: 3}",
            "{dns.list.__contains: c}",
            "{dns.flags.__startswith: '18'}",
            "{has-key: dns.other}",
            "{not-has-key: [dns.flags]}",
        ] {
            assert!(!matches(wrong), "{wrong}");
        }
    }
}
