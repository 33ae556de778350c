use std::io::Write as _;

use tempfile::NamedTempFile;

use super::*;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn error(text: &str) -> String {
    let file = file(text);
    let error = load(Some(file.path()), &BTreeMap::new(), &[])
        .unwrap_err()
        .to_string();
    error
        .strip_prefix(&format!("{}", file.path().display()))
        .unwrap_or(&error)
        .to_owned()
}

#[test]
fn unknown_key_has_place_and_nearest_name() {
    assert_eq!(
        error("tap = true\n[sampling]\nfirst_packets = 3\n  onein = 4\n"),
        ":4:3: unknown key `sampling.onein`; did you mean `sampling.one_in`?"
    );
    assert_eq!(
        error("[samplng]\none_in = 4\n"),
        ":1:2: unknown key `samplng`; did you mean `sampling`?"
    );
    assert_eq!(error("\nzzz = 1\n"), ":2:1: unknown key `zzz`");
}

#[test]
fn wrong_type_and_syntax_have_a_place() {
    let message = error("[sampling]\none_in = \"many\"\n");
    assert!(
        message.starts_with(":2:10: invalid type: string"),
        "{message}"
    );
    let message = error("sampling = 3\n");
    assert!(
        message.starts_with(":1:12: invalid type: integer"),
        "{message}"
    );
    let message = error("tap = \n");
    assert!(message.starts_with(":1:"), "{message}");
    let message = error("mode = \"fast\"\n");
    assert!(
        message.starts_with(":1:8: unknown variant `fast`, expected one of"),
        "{message}"
    );
}

#[test]
fn out_of_range_names_the_line() {
    assert_eq!(
        error("[flows]\n# too short\ninterval_ms = 10\n"),
        ":3: `flows.interval_ms`: must be between 1000 and 5000 milliseconds"
    );
}

#[test]
fn flags_beat_variables_beat_file_beat_defaults() {
    let file = file("mode = \"generic\"\n[sampling]\nfirst_packets = 1\none_in = 1\n");
    let variables = variables(&[
        ("SENSOR_SAMPLING_FIRST_PACKETS", "2"),
        ("SENSOR_SAMPLING_ONE_IN", "2"),
        ("SENSOR_INTERFACES", "eth0, eth1"),
        ("SENSOR_METRICS_LISTEN", "127.0.0.1:1,[::1]:2"),
    ]);
    let flags = [Flag {
        name: "--one-in",
        key: "sampling.one_in",
        value: Value::Integer(3),
    }];
    let loaded = load(Some(file.path()), &variables, &flags).unwrap();
    assert_eq!(loaded.config.sampling.one_in, 3);
    assert_eq!(loaded.config.sampling.first_packets, 2);
    assert_eq!(loaded.config.mode, super::super::AttachMode::Generic);
    assert_eq!(loaded.config.interfaces, ["eth0", "eth1"]);
    assert_eq!(loaded.config.metrics.listen.len(), 2);
    assert_eq!(loaded.config.flows, super::super::Flows::default());
    assert_eq!(loaded.origins["sampling.one_in"], Origin::Flag("--one-in"));
    assert_eq!(
        loaded.origins["sampling.first_packets"],
        Origin::Variable("SENSOR_SAMPLING_FIRST_PACKETS".to_owned())
    );
    assert_eq!(
        loaded.origins["mode"],
        Origin::File {
            path: file.path().to_owned(),
            line: 1
        }
    );
    assert_eq!(loaded.origins["flows.capacity"], Origin::Default);
}

#[test]
fn bad_variable_is_named() {
    let variables = variables(&[("SENSOR_SAMPLING_ONE_IN", "often")]);
    let file = file("");
    let error = load(Some(file.path()), &variables, &[])
        .unwrap_err()
        .to_string();
    assert!(
        error
            .starts_with("environment variable SENSOR_SAMPLING_ONE_IN: `sampling.one_in`: invalid"),
        "{error}"
    );
}

#[test]
fn missing_file_is_an_error_when_named() {
    let error = load(Some(Path::new("/nonexistent.toml")), &BTreeMap::new(), &[]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("name another file with --config"),
        "{error}"
    );
}

#[test]
fn every_key_is_listed_with_value_and_origin() {
    let file = file("");
    let loaded = load(Some(file.path()), &BTreeMap::new(), &[]).unwrap();
    assert_eq!(loaded.entries().count(), known_keys().len());
    let capacity = loaded
        .entries()
        .find(|(key, _, _)| *key == "flows.capacity")
        .unwrap();
    assert_eq!(capacity.1, Some(Value::Integer(262_144)));
}
