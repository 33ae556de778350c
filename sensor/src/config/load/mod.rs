//! Layers the sources of the configuration and remembers where each value came from.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{
    Config, ConfigError, DEFAULT_PATH,
    keys::{known_keys, variable},
    locate,
};

/// Where a value came from, in rising precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A value that the command line sets.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As typed, `--tap`.
    pub name: &'static str,
    /// The key that it stands for.
    pub key: &'static str,
    pub value: Value,
}

/// The effective configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// The file that was read, if any.
    pub path: Option<PathBuf>,
    /// Origin of every known key.
    pub origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Every known key with its effective value (`None` where it is unset) and origin.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Option<Value>, &Origin)> {
        let tree = to_table(&self.config);
        self.origins
            .iter()
            .map(move |(key, origin)| (key.as_str(), get(&tree, key), origin))
    }
}

/// Loads the configuration: `path`, else `SENSOR_CONFIG`, else [`DEFAULT_PATH`] if it exists.
///
/// # Errors
/// Any value that is unknown, of a wrong type or out of range, with its place.
pub fn load(
    path: Option<&Path>,
    variables: &BTreeMap<String, String>,
    flags: &[Flag],
) -> Result<Loaded, ConfigError> {
    let known = known_keys();
    let mut origins: BTreeMap<_, _> = known
        .keys()
        .map(|key| (key.clone(), Origin::Default))
        .collect();
    let mut tree = Table::new();

    let path = file_to_read(path, variables);
    if let Some(path) = &path {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.clone(),
            source,
        })?;
        let lines = locate::lines(path, &text, &known)?;
        // Typed once for errors with their place; the table is what the layers are put on.
        toml::from_str::<Config>(&text).map_err(|error| locate::at(path, &text, &error))?;
        tree = toml::from_str(&text).map_err(|error| locate::at(path, &text, &error))?;
        for (key, line) in lines {
            origins.insert(
                key,
                Origin::File {
                    path: path.clone(),
                    line,
                },
            );
        }
    }

    for key in known.keys() {
        let name = variable(key);
        if let Some(text) = variables.get(&name) {
            let origin = Origin::Variable(name);
            overlay(&mut tree, key, parse_variable(key, text), &origin)?;
            origins.insert(key.clone(), origin);
        }
    }
    for flag in flags {
        let origin = Origin::Flag(flag.name);
        overlay(&mut tree, flag.key, flag.value.clone(), &origin)?;
        origins.insert(flag.key.to_owned(), origin);
    }

    let config: Config = tree
        .try_into()
        .map_err(|error: toml::de::Error| ConfigError::Value {
            origin: Origin::Default,
            message: error.message().to_owned(),
        })?;
    if let Some((key, complaint)) = config.problems().into_iter().next() {
        let origin = origins.get(key).cloned().unwrap_or(Origin::Default);
        return Err(ConfigError::Value {
            origin,
            message: format!("`{key}`: {complaint}"),
        });
    }
    Ok(Loaded {
        config,
        path,
        origins,
    })
}

fn file_to_read(path: Option<&Path>, variables: &BTreeMap<String, String>) -> Option<PathBuf> {
    path.map(Path::to_owned)
        .or_else(|| variables.get("SENSOR_CONFIG").map(PathBuf::from))
        .or_else(|| Some(PathBuf::from(DEFAULT_PATH)).filter(|path| path.exists()))
}

/// Sets one value and finds out at once whether the types accept it.
fn overlay(tree: &mut Table, key: &str, value: Value, origin: &Origin) -> Result<(), ConfigError> {
    set(tree, key, value);
    match tree.clone().try_into::<Config>() {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("`{key}`: {}", error.message());
            Err(ConfigError::Value {
                origin: origin.clone(),
                message,
            })
        }
    }
}

/// A variable's text as the type that the key has: lists are separated by commas.
fn parse_variable(key: &str, text: &str) -> Value {
    let is_list = get(&to_table(&Config::default()), key).is_some_and(|value| value.is_array());
    if is_list && !text.trim_start().starts_with('[') {
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        return Value::Array(items.map(scalar).collect());
    }
    scalar(text)
}

/// TOML where it is TOML, a plain string otherwise.
fn scalar(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}"));
    match parsed.ok().and_then(|mut table| table.remove("value")) {
        // A bare date is a string to us: no key is a date.
        Some(Value::Datetime(_)) | None => Value::String(text.to_owned()),
        Some(value) => value,
    }
}

fn to_table(config: &Config) -> Table {
    // Every section is a struct of plain values: there is nothing that TOML cannot hold.
    Table::try_from(config).unwrap_or_default()
}

fn get(tree: &Table, key: &str) -> Option<Value> {
    let mut names = key.split('.');
    let mut value = tree.get(names.next()?)?;
    for name in names {
        value = value.get(name)?;
    }
    Some(value.clone())
}

fn set(tree: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            tree.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let entry = tree
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = entry {
                set(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
