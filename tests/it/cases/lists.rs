//! The ratchet: `passes.txt` may only grow, `skips.txt` only shrink.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context as _, Result, ensure};

use super::{Outcome, Skip};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("it/cases")
        .join(name)
}

fn read(name: &str) -> Result<BTreeSet<String>> {
    let path = path(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn write(name: &str, lines: &BTreeSet<String>) -> Result<()> {
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    Ok(std::fs::write(path(name), text)?)
}

/// Fails where a listed check no longer passes, or an unlisted one of a known case is skipped.
/// Cases that neither list knows are free: other folders may hold other captures.
pub(super) fn compare(outcomes: &BTreeMap<String, Outcome>) -> Result<()> {
    let passes: BTreeSet<String> = outcomes
        .iter()
        .filter(|(_, outcome)| **outcome == Outcome::Pass)
        .map(|(name, _)| name.clone())
        .collect();
    let skips: BTreeSet<String> = outcomes
        .iter()
        .filter_map(|(name, outcome)| match outcome {
            Outcome::Skip(reason) => Some(format!("{} {name}", Skip::name(*reason))),
            Outcome::Pass | Outcome::Fail(_) => None,
        })
        .collect();
    if std::env::var_os("SENSOR_CASES_UPDATE").is_some() {
        write("passes.txt", &passes)?;
        write("skips.txt", &skips)?;
        return Ok(());
    }
    let (known_passes, known_skips) = (read("passes.txt")?, read("skips.txt")?);
    let lost: Vec<_> = lost(outcomes, &known_passes, &passes);
    ensure!(
        lost.is_empty(),
        "passed before and do not now:\n{}",
        lost.join("\n")
    );
    let known = |line: &str| {
        let case = line.split(' ').nth(1).unwrap_or_default();
        known_skips
            .iter()
            .any(|skip| skip.split(' ').nth(1) == Some(case))
            || known_passes
                .iter()
                .any(|pass| pass.split(' ').next() == Some(case))
    };
    let new: Vec<_> = skips
        .difference(&known_skips)
        .filter(|line| known(line))
        .cloned()
        .collect();
    ensure!(
        new.is_empty(),
        "skipped now and not before:\n{}",
        new.join("\n")
    );
    Ok(())
}

/// Listed passes among the cases at hand that did not pass.
pub(super) fn lost(
    outcomes: &BTreeMap<String, Outcome>,
    known: &BTreeSet<String>,
    passes: &BTreeSet<String>,
) -> Vec<String> {
    let at_hand: BTreeSet<_> = outcomes
        .keys()
        .filter_map(|name| name.split(' ').next())
        .collect();
    let here = |line: &&String| {
        line.split(' ')
            .next()
            .is_some_and(|case| at_hand.contains(case))
    };
    known.difference(passes).filter(here).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_pass_is_told_and_an_absent_case_is_not() {
        let known = BTreeSet::from(["a x 0".to_owned(), "b x 0".to_owned()]);
        let outcomes = BTreeMap::from([("a x 0".to_owned(), Outcome::Fail(String::new()))]);
        assert_eq!(lost(&outcomes, &known, &BTreeSet::new()), ["a x 0"]);
    }
}
