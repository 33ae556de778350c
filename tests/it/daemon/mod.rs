//! What runs around the live path: deployment files and the scrape.

mod deploy;
mod samples;
mod scrape;

use std::process::{Command, Output, Stdio};

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
        eprintln!("skipped: no promtool here (Debian package `prometheus`)");
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
