//! The public captures below `SENSOR_CASES`, decided by one matcher.
//!
//! Each row of `INDEX.tsv` names a capture and what another tool expects of it. A family's module
//! turns that into checks; a check passes, fails, or is skipped for a [`Skip`] reason. Counted
//! are the checks in dns, http, tls and flow that need no rules, no IPS mode and no option that
//! only the other tool has. `passes.txt` may only grow, `skips.txt` only shrink; run with
//! `SENSOR_CASES_UPDATE=1` to rewrite both.

mod arkime;
mod capture;
mod community_id;
mod ends;
mod eve;
mod index;
mod ja4;
mod lists;
mod reading;
mod zeek;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use self::{capture::Run, index::Case};

/// Why a check is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Skip {
    /// It needs signatures.
    Rules,
    /// It needs inline mode.
    Ips,
    /// It needs an option, output file or counter that only the other tool has.
    ToolOption,
    /// It is meant for another version or layout of the format.
    Version,
    /// It is about a protocol or log other than dns, http, tls and flow. Packets are counted all
    /// the same where the other tool tells their number.
    OtherProtocol,
    /// What is expected is not in the folder, or is not of the stated form.
    NotThere,
}

impl Skip {
    const ALL: [Self; 6] = [
        Self::Rules,
        Self::Ips,
        Self::ToolOption,
        Self::Version,
        Self::OtherProtocol,
        Self::NotThere,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Ips => "ips",
            Self::ToolOption => "tool-option",
            Self::Version => "version",
            Self::OtherProtocol => "other-protocol",
            Self::NotThere => "not-there",
        }
    }
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Pass,
    Fail(String),
    Skip(Skip),
}

impl Outcome {
    fn of(passes: bool, why: impl FnOnce() -> String) -> Self {
        if passes {
            Self::Pass
        } else {
            Self::Fail(why())
        }
    }
}

/// All checks of one case, in the order in which the expectation states them.
fn decide(case: &Case) -> Result<Vec<Outcome>> {
    match case.kind.as_str() {
        "EVE match counts" => eve::decide(case),
        "Zeek TSV log" => zeek::decide(case, &Run::of(&case.capture, true)?),
        "Arkime session JSON" => arkime::decide(case, &Run::of(&case.capture, true)?),
        "ids" => community_id::decide(case, &Run::of(&case.capture, true)?),
        kind if kind.contains("ja4") => ja4::decide(case, &Run::of(&case.capture, true)?),
        "expected alert strings" => {
            Run::of(&case.capture, true)?;
            Ok(vec![Outcome::Skip(Skip::Rules)])
        }
        "tcpdump text" => reading::decide_tcpdump(case, &Run::of(&case.capture, true)?),
        "reader conformance" => Ok(reading::decide_conformance(&Run::of(&case.capture, true)?)),
        kind => bail!("a kind of expectation that nothing decides: {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At least this share of the counted checks passes.
    const SHARE: f64 = 0.8;
    /// The process's peak memory, which holds one capture's events at a time.
    const MEMORY_KIB: u64 = 1 << 20;

    #[test]
    fn public_captures() -> Result<()> {
        let Some(root) = std::env::var_os("SENSOR_CASES").map(PathBuf::from) else {
            sensor_tests::skip("needs SENSOR_CASES");
            return Ok(());
        };
        // Cargo runs tests in the package's folder; the variable is relative to the workspace.
        let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let cases = index::read(&workspace.join(root))?;
        ensure!(!cases.is_empty(), "INDEX.tsv lists no captures");
        let mut outcomes = BTreeMap::new();
        for case in &cases {
            let decided = decide(case).with_context(|| format!("{}", case.capture.display()))?;
            for (number, outcome) in decided.into_iter().enumerate() {
                outcomes.insert(format!("{} {} {number}", case.name, case.expected), outcome);
            }
        }
        report(&outcomes);
        lists::compare(&outcomes)?;
        let passed = outcomes
            .values()
            .filter(|outcome| **outcome == Outcome::Pass)
            .count();
        let failed = outcomes
            .values()
            .filter(|outcome| matches!(outcome, Outcome::Fail(_)))
            .count();
        let share = passed as f64 / (passed + failed) as f64;
        ensure!(
            share >= SHARE,
            "{passed} of {} counted checks pass: {share:.3}",
            passed + failed
        );
        let peak = peak_memory()?;
        ensure!(peak < MEMORY_KIB, "the captures took {peak} KiB of memory");
        Ok(())
    }

    fn report(outcomes: &BTreeMap<String, Outcome>) {
        let count = |wanted: fn(&Outcome) -> bool| {
            outcomes.values().filter(|outcome| wanted(outcome)).count()
        };
        println!("pass {}", count(|outcome| *outcome == Outcome::Pass));
        println!(
            "fail {}",
            count(|outcome| matches!(outcome, Outcome::Fail(_)))
        );
        for reason in Skip::ALL {
            let skipped = outcomes
                .values()
                .filter(|outcome| **outcome == Outcome::Skip(reason));
            println!("skip {} {}", reason.name(), skipped.count());
        }
        for (name, outcome) in outcomes {
            if let Outcome::Fail(why) = outcome {
                println!("FAIL {name}: {why}");
            }
        }
    }

    fn peak_memory() -> Result<u64> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib
            .context("no VmHWM in /proc/self/status")?
            .trim()
            .parse()?)
    }
}
