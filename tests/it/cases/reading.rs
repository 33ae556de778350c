//! Captures about protocols that are not dissected: all of their packets must be read.

use std::cmp::Ordering;

use anyhow::Result;

use super::{Outcome, Skip, capture::Run, index::Case};

/// A capture of the reader's conformance suite must end whole; what is in it is compared by
/// `golden::conformance`.
pub(super) fn decide_conformance(run: &Run) -> Vec<Outcome> {
    vec![match &run.broken {
        None => Outcome::Skip(Skip::OtherProtocol),
        Some(error) => Outcome::Fail(error.clone()),
    }]
}

/// tcpdump numbers the packets that it prints: as many must be read, also where both stop at a
/// break. What it says about them is of other protocols.
pub(super) fn decide_tcpdump(case: &Case, run: &Run) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for file in case.files() {
        let printed = printed(&String::from_utf8_lossy(&std::fs::read(&file)?));
        outcomes.push(match run.packets.cmp(&printed) {
            Ordering::Equal => Outcome::Skip(Skip::OtherProtocol),
            // Printed with a filter expression.
            Ordering::Greater => Outcome::Skip(Skip::ToolOption),
            Ordering::Less => Outcome::Fail(format!(
                "{} packets are read, {printed} are printed; {:?}",
                run.packets, run.broken
            )),
        });
    }
    Ok(outcomes)
}

/// How many packets the text numbers, from 1 without a hole.
fn printed(text: &str) -> u64 {
    text.lines().fold(0, |count, line| {
        let number = line.trim_start().split_once("  ");
        let next = number.is_some_and(|(number, _)| number.parse() == Ok(count + 1));
        count + u64::from(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_packet_and_a_break_are_told() {
        let text = "    1  00:00:00.1 IP a > b\n\t3  options\n    2  00:00:00.2 IP b > a\n";
        assert_eq!(printed(text), 2);
        let mut run = Run::default();
        assert_eq!(
            decide_conformance(&run),
            [Outcome::Skip(Skip::OtherProtocol)]
        );
        run.broken = Some("cut off".to_owned());
        assert!(matches!(decide_conformance(&run)[..], [Outcome::Fail(_)]));
    }
}
