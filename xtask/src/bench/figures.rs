use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Report;

/// What a program that measures as root writes to stdout, as JSON.
#[derive(Deserialize)]
pub(super) struct Figures {
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

impl Figures {
    /// # Errors
    /// Where the text is of another form.
    pub(super) fn read(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("the program that measures wrote no figures")
    }

    pub(super) fn add_to(self, report: &mut Report) {
        for condition in self.conditions {
            report.condition(condition);
        }
        for row in self.rows {
            report.row(row.name, row.value, row.unit, row.ratio);
        }
    }
}
