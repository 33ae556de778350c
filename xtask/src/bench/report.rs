use std::fmt;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::command::root;

/// The figures of one measurement, with the conditions that they hold under.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Short and stable: names the place in docs/performance.md.
    name: &'static str,
    /// One line: what was measured.
    title: String,
    /// Machine, versions, sizes, where each program ran: what a reader needs to judge a figure.
    conditions: Vec<String>,
    rows: Vec<Row>,
    /// Tables and charts of another form, as Markdown.
    parts: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    value: f64,
    unit: String,
    /// To the baseline of the same run, where the row has one.
    ratio: Option<f64>,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(name: &'static str, title: impl Into<String>) -> Self {
        Self {
            name,
            title: title.into(),
            conditions: vec![machine()],
            rows: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// States a condition that the figures hold under.
    pub(crate) fn condition(&mut self, text: impl Into<String>) {
        self.conditions.push(text.into());
    }

    /// Adds a figure; `ratio` is its value divided by its baseline's.
    pub(crate) fn row(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: impl Into<String>,
        ratio: Option<f64>,
    ) {
        self.rows.push(Row {
            name: name.into(),
            value,
            unit: unit.into(),
            ratio,
        });
    }

    /// Adds a table or chart of another form, as Markdown.
    pub(crate) fn part(&mut self, markdown: String) {
        self.parts.push(markdown);
    }

    /// Replaces this report's part of docs/performance.md, between its markers.
    ///
    /// # Errors
    /// Where the document lacks the markers.
    pub(crate) fn record(&self) -> Result<()> {
        let file = root().join("docs/performance.md");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let begin = format!("<!-- bench {} begin -->\n", self.name);
        let end = format!("<!-- bench {} end -->", self.name);
        let Some((head, rest)) = text.split_once(&begin) else {
            bail!("{} has no line `{}`", file.display(), begin.trim_end());
        };
        let Some((_, tail)) = rest.split_once(&end) else {
            bail!("{} has no line `{end}`", file.display());
        };
        let text = format!("{head}{begin}{}{end}{tail}", self.markdown());
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "{}\n\n| | value | unit | ratio |\n| --- | ---: | --- | ---: |\n",
            self.title
        );
        for row in &self.rows {
            let [value, ratio] = row.figures();
            text += &format!("| {} | {value} | {} | {ratio} |\n", row.name, row.unit);
        }
        text += "\n";
        for part in &self.parts {
            text += part;
            text += "\n";
        }
        for condition in &self.conditions {
            text += &format!("- {condition}\n");
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.title)?;
        let width = self
            .rows
            .iter()
            .map(|row| row.name.chars().count())
            .max()
            .unwrap_or(0);
        for row in &self.rows {
            let [value, ratio] = row.figures();
            writeln!(
                out,
                "  {:width$}  {value:>14} {:<9} {ratio:>7}",
                row.name, row.unit
            )?;
        }
        for part in &self.parts {
            writeln!(out, "\n{part}")?;
        }
        for condition in &self.conditions {
            writeln!(out, "  ({condition})")?;
        }
        Ok(())
    }
}

impl Row {
    fn figures(&self) -> [String; 2] {
        let decimals = match self.value.abs() {
            value if value.fract() == 0.0 || value >= 1000.0 => 0,
            value if value >= 10.0 => 1,
            _ => 3,
        };
        let ratio = self
            .ratio
            .map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        [format!("{:.decimals$}", self.value), ratio]
    }
}

/// Kernel and processor.
fn machine() -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    format!("Linux {}, {model}, {cpus} CPUs", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn figures_keep_three_digits_or_more() {
        let mut report = Report::new("test", "A title");
        report.row("empty", 1234.5, "ns", None);
        report.row("full", 12.34, "ns", Some(0.5));
        let text = report.to_string();
        assert!(
            text.contains("1234 ns") || text.contains("1235 ns"),
            "{text}"
        );
        assert!(text.contains("12.3 ns") && text.contains("0.50"), "{text}");
        assert!(report.markdown().contains("| full | 12.3 | ns | 0.50 |"));
    }
}
