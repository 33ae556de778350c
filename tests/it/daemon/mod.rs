//! What runs around the live path: deployment files and the scrape.

mod deploy;
mod devices;
mod guard;
mod running;
mod samples;
mod scrape;
mod signals;

use std::process::{Command, Output, Stdio};

use sensor_tests::{Lab, LabOptions, SensorOptions};
use tempfile::TempDir;

/// A lab without servers.
fn lab() -> Lab {
    Lab::new(LabOptions::default()).expect("the lab is laid")
}

/// Options to start a sensor with a configuration; the folder holds it as `sensor.toml`.
fn with_config(text: &str) -> (TempDir, SensorOptions) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sensor.toml");
    std::fs::write(&path, text).expect("a file");
    let args = vec!["-c".to_owned(), path.display().to_string()];
    let options = SensorOptions {
        args,
        ..SensorOptions::default()
    };
    (directory, options)
}

/// Runs promtool; `None`, said aloud, where it is not installed.
fn promtool(arguments: &[&str], input: &str) -> Option<Output> {
    use std::io::Write as _;

    let child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        sensor_tests::skip("no promtool here (Debian package `prometheus`)");
        return None;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    Some(child.wait_with_output().unwrap())
}
