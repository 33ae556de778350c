//! Running test binaries and reading what they say.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::tally::Tally;
use crate::command::{cargo, output, program};

/// What one build of the workspace gave.
pub(crate) struct Built {
    /// The product, without optimisation.
    pub(crate) sensor: PathBuf,
    /// The test binary that crosses modules.
    pub(crate) integration: PathBuf,
    /// Test binaries of libraries and programs, each with its package's folder.
    pub(crate) units: Vec<(PathBuf, PathBuf)>,
}

/// Builds everything at once: package by package, cargo would resolve features anew and build
/// most dependencies several times.
///
/// # Errors
/// If something does not compile.
pub(crate) fn build() -> Result<Built> {
    let text = output(&mut cargo([
        "build",
        "--workspace",
        "--all-targets",
        "--locked",
        "--message-format=json-render-diagnostics",
    ]))?;
    let (mut sensor, mut integration, mut units) = (None, None, Vec::new());
    for message in text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
    {
        let Some(executable) = message["executable"].as_str().map(PathBuf::from) else {
            continue;
        };
        let target = message["target"]["name"].as_str().unwrap_or_default();
        let is_test = message["profile"]["test"] == true;
        match (target, is_test) {
            ("sensor", false) => sensor = Some(executable),
            ("it", true) => integration = Some(executable),
            (_, true) => {
                let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
                let folder = manifest
                    .parent()
                    .context("a manifest without folder")?
                    .to_owned();
                units.push((executable, folder));
            }
            (_, false) => {}
        }
    }
    Ok(Built {
        sensor: sensor.context("cargo built no sensor")?,
        integration: integration.context("cargo built no integration tests")?,
        units,
    })
}

/// Names of the tests within any of `modules`.
pub(crate) fn list(binary: &Path, modules: &[&str]) -> Result<Vec<String>> {
    let text = output(
        program(binary)
            .args(["--list", "--format=terse"])
            .args(modules),
    )?;
    Ok(text
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect())
}

/// Longer than any run of tests.
const A_DAY: Duration = Duration::from_hours(24);

/// Runs tests, shows what they write, and adds their counts.
///
/// # Errors
/// If it failed without a failed test: it did not compile, was killed or found no test binary.
pub(crate) fn run(command: &mut Command, tally: &mut Tally) -> Result<()> {
    run_until(command, Instant::now() + A_DAY, tally)
}

/// As [`run`], but kills the process that it has started if it has not ended at `deadline`.
///
/// # Errors
/// As [`run`], and at the deadline.
pub(crate) fn run_until(command: &mut Command, deadline: Instant, tally: &mut Tally) -> Result<()> {
    let failed = tally.failed;
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let (lines, written) = mpsc::channel();
    let streams: [Box<dyn Read + Send>; 2] = [
        Box::new(child.stdout.take().context("no stdout")?),
        Box::new(child.stderr.take().context("no stderr")?),
    ];
    for stream in streams {
        let lines = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
    }
    drop(lines);
    let mut out = std::io::stderr().lock();
    loop {
        match written.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                writeln!(out, "{line}")?;
                read(&line, tally);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                bail!("{command:?} had not ended at its deadline, and was killed");
            }
        }
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == failed {
        bail!("{command:?} failed ({status})");
    }
    Ok(())
}

/// Reads one line of a test binary.
fn read(line: &str, tally: &mut Tally) {
    if let Some(counts) = line.strip_prefix("test result: ") {
        for part in counts.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(number)), Some(kind)) =
                (words.next().map(str::parse::<i64>), words.next())
            else {
                continue;
            };
            match kind {
                "passed" => tally.passed += number,
                "failed" => tally.failed += number,
                "ignored" => tally.skipped += number,
                _ => {}
            }
        }
    } else if let Some(skip) = line.strip_prefix("SKIPPED ") {
        tally.skip_passed(skip);
    } else if line.starts_with("test ") && line.ends_with(" ... FAILED") {
        tally.name_failure(line.trim_end_matches(" ... FAILED"));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::{read, run_until};
    use crate::test::tally::Tally;

    #[test]
    fn counts_are_summed_and_skips_are_not_passes() {
        let mut tally = Tally::default();
        for line in [
            "test a::b ... FAILED",
            "SKIPPED a::c: needs root",
            "test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 9 filtered out; finished in 0.01s",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            "SKIPPED a::d: needs openssl",
        ] {
            read(line, &mut tally);
        }
        assert_eq!((tally.passed, tally.failed, tally.skipped), (6, 1, 4));
    }

    #[test]
    fn what_does_not_end_is_killed() {
        let mut tally = Tally::default();
        let mut command = Command::new("sh");
        command.args(["-c", "exec sleep 600"]);
        let started = Instant::now();
        let deadline = started + Duration::from_secs(1);
        let error = run_until(&mut command, deadline, &mut tally).expect_err("a deadline");
        assert!(error.to_string().contains("deadline"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(500));
    }
}
