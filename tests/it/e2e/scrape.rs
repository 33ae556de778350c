//! The web listener of a running sensor.

use std::io::Write as _;
use std::process::{Command, Stdio};

use sensor_tests::{root_or_skip, skip};

use super::Scene;

#[test]
fn promtool_finds_no_fault_with_the_metrics() {
    if !root_or_skip() {
        return;
    }
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        return skip("promtool is not installed (Debian: apt-get install prometheus)");
    };
    let scene = Scene::new(&[]);
    let (status, text) = scene.sensor.web("/metrics").expect("the metrics");
    assert_eq!(status, 200);
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.trim().is_empty(), "{said}");
}

#[test]
fn health_and_landing_page_answer() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new(&[]);
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(scene.sensor.web(path).expect("an answer").0, 200, "{path}");
    }
    assert_eq!(scene.sensor.web("/nowhere").expect("an answer").0, 404);
}
