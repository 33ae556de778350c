use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Report;
use crate::build;
use crate::command::{as_root, output};

#[derive(Deserialize)]
struct Figures {
    conditions: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    value: f64,
    unit: String,
    ratio: Option<f64>,
}

/// The sensor in `--tap` mode through a veth, measured by the lab's program, as root.
pub(super) fn measure() -> Result<Report> {
    let sensor = build::sensor()?;
    let mut lab = as_root(build::lab()?, &[])?;
    let text = output(lab.arg("bench").arg("--sensor").arg(sensor))?;
    let figures: Figures =
        serde_json::from_str(&text).context("the lab's program wrote no figures")?;
    let mut report = Report::new("ring", "Through a veth in --tap mode, saturating generator");
    for condition in figures.conditions {
        report.condition(condition);
    }
    for row in figures.rows {
        report.row(row.name, row.value, row.unit, row.ratio);
    }
    Ok(report)
}
