//! `cargo xtask bench`: every figure beside its peers in the same run.

mod figures;
mod flood;
mod kernel;
mod lists;
mod mix;
mod offline;
mod report;
mod ring;

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use figures::Figures;
pub(crate) use report::Report;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Cost of the data plane for one packet, by BPF_PROG_TEST_RUN.
    Kernel,
    /// `sensor read` beside ndpiReader and tshark.
    Offline,
    /// Through a veth in `--tap` mode, beside a bare XDP_DROP; and a flow table that overflows.
    Ring,
    /// Make the capture that `offline` reads.
    Mix,
    /// SYN floods: what the guard and its peers take, and clients meanwhile.
    Flood,
    /// How long a feed of 100,000 prefixes takes until it is in force, while packets arrive.
    Lists,
    /// All of these.
    All,
}

/// A measurement: returns what it found, for the table, the JSON file and the document.
type Measure = fn() -> Result<Report>;

/// Every measurement by the suite it belongs to, in order of execution.
const MEASURES: &[(Suite, Measure)] = &[
    (Suite::Kernel, kernel::measure),
    (Suite::Mix, mix::measure),
    (Suite::Offline, offline::measure),
    (Suite::Ring, ring::measure),
    (Suite::Flood, flood::measure),
    (Suite::Lists, lists::measure),
];

/// Runs a suite, prints its tables, and keeps the figures where asked.
pub(crate) fn run(suite: Suite, json: Option<&Path>, record: bool) -> Result<()> {
    let mut reports = Vec::new();
    let mut failed = None;
    for (belongs, measure) in MEASURES {
        if suite == *belongs || suite == Suite::All {
            match measure() {
                Ok(report) => {
                    println!("{report}");
                    reports.push(report);
                }
                // What the others find is worth having all the same.
                Err(error) => {
                    eprintln!("xtask: {belongs:?} was not measured: {error:#}");
                    failed = Some(error);
                }
            }
        }
    }
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&reports)?;
        std::fs::write(file, text + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if record {
        for report in &reports {
            report.record()?;
        }
    }
    failed.map_or(Ok(()), Err)
}
