use anyhow::Result;

use super::{Figures, Report};
use crate::build;
use crate::command::{as_root, output};

/// A feed that comes into force while packets arrive, measured by the lab's program, as root.
pub(super) fn measure() -> Result<Report> {
    let sensor = build::sensor()?;
    let mut lab = as_root(build::lab()?, &[])?;
    let text = output(lab.arg("lists").arg("--sensor").arg(sensor))?;
    let mut report = Report::new(
        "lists",
        "A feed and commands beside it, while packets arrive",
    );
    Figures::read(&text)?.add_to(&mut report);
    Ok(report)
}
