use anyhow::Result;

use super::{Figures, Report};
use crate::build;
use crate::command::{as_root, output};

/// One packet through the XDP program, beside programs that do less, as root.
pub(super) fn measure() -> Result<Report> {
    let mut bench = as_root(build::of_tests("sensor-bench-kernel")?, &[])?;
    let text = output(&mut bench)?;
    let mut report = Report::new("kernel", "One packet, by BPF_PROG_TEST_RUN");
    Figures::read(&text)?.add_to(&mut report);
    Ok(report)
}
