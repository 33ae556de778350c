use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sensor::config::{Config, known_keys};

use super::promtool;

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(file)
}

#[test]
fn commented_configuration_is_the_default_and_complete() {
    let path = deploy("sensor.toml");
    let loaded = sensor::config::load(Some(&path), &[].into(), &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    let text = fs::read_to_string(&path).unwrap();
    for key in known_keys().keys() {
        let name = key.rsplit('.').next().unwrap();
        let is_there = text.contains(&format!("{name} = "));
        // Filters are lists that are empty by default.
        assert!(is_there, "deploy/sensor.toml does not show `{key}`");
    }
}

#[test]
fn rules_pass_promtool() {
    let rules = deploy("prometheus/rules.yml");
    let Some(output) = promtool(&["check", "rules", rules.to_str().unwrap()], "") else {
        return;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tests = deploy("prometheus/rules.test.yml");
    let Some(output) = promtool(&["test", "rules", tests.to_str().unwrap()], "") else {
        return;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn rules_name_only_metrics_that_exist() {
    let known: BTreeSet<_> = sensor::metrics::table().map(|metric| metric.name).collect();
    let text = fs::read_to_string(deploy("prometheus/rules.yml")).unwrap();
    let mut named = 0;
    for line in text
        .lines()
        .filter(|line| line.trim_start().starts_with("expr:"))
    {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("sensor_")) {
            assert!(known.contains(word), "{word} does not exist: {line}");
            named += 1;
        }
    }
    assert!(
        named >= 10,
        "{named} metrics named: the rules were not read"
    );
}

#[test]
fn unit_is_valid_for_systemd() {
    let unit = deploy("systemd/sensor.service");
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&unit)
        .output();
    let Ok(output) = output else {
        sensor_tests::skip("no systemd-analyze here (Debian package `systemd`)");
        return;
    };
    // The binary need not be installed here; everything else has to be right.
    let complaints = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<_> = complaints
        .lines()
        .filter(|line| line.contains("sensor.service") && !line.contains("is not executable"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");

    let text = fs::read_to_string(&unit).unwrap();
    // Filters add up in order, and @privileged takes bpf away.
    let filters: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="))
        .collect();
    let allowed = filters.iter().rposition(|filter| filter.starts_with("bpf"));
    let denied = filters.iter().rposition(|filter| filter.starts_with('~'));
    assert!(allowed > denied, "{filters:?}");
}

/// `defence::capabilities` shows that these suffice, for the self-test of cookies, too.
#[test]
fn unit_grants_three_capabilities() {
    let text = fs::read_to_string(deploy("systemd/sensor.service")).unwrap();
    for key in ["AmbientCapabilities=", "CapabilityBoundingSet="] {
        let granted: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix(key))
            .collect();
        assert_eq!(granted, ["CAP_BPF CAP_NET_ADMIN CAP_PERFMON"], "{key}");
    }
}
