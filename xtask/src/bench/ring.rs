use anyhow::Result;

use super::{Figures, Report};
use crate::build;
use crate::command::{as_root, output};

/// The sensor in `--tap` mode through a veth, measured by the lab's program, as root.
pub(super) fn measure() -> Result<Report> {
    let sensor = build::sensor()?;
    let mut lab = as_root(build::lab()?, &[])?;
    let text = output(lab.arg("bench").arg("--sensor").arg(sensor))?;
    let mut report = Report::new("ring", "Through a veth in --tap mode, saturating generator");
    Figures::read(&text)?.add_to(&mut report);
    Ok(report)
}
