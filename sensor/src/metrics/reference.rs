//! The generated reference, `docs/metrics.md`.

use std::fmt::Write as _;

use prometheus::core::Collector as _;

use super::{Values, table};

/// The reference as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Generated from the table in `sensor/src/metrics`; `UPDATE_DOCS=1 cargo test -p sensor \
         reference` writes it anew.\n\n\
         All kernel counters are as of the last closed generation, which a scrape closes first. \
         Bytes are frame bytes without FCS. No label ever holds an address, a port pair, a name \
         or a URL.\n",
    );
    for metric in table() {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## `{}`\n\n{}. {}\n",
            metric.name,
            metric.kind.as_str(),
            metric.help
        );
        if !metric.labels.is_empty() {
            text.push_str("\n| label | values |\n| --- | --- |\n");
        }
        for label in metric.labels {
            let values = match label.values {
                Values::OneOf(values) => {
                    let quoted: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
                    quoted.join(", ")
                }
                Values::Bounded(what) => what.to_owned(),
            };
            let _ = writeln!(text, "| `{}` | {values} |", label.name);
        }
    }
    text.push_str("\n## The process\n\n");
    let process = prometheus::process_collector::ProcessCollector::for_self();
    let mut lines: Vec<_> = process
        .desc()
        .iter()
        .map(|description| format!("- `{}`: {}\n", description.fq_name, description.help))
        .collect();
    lines.sort();
    text.push_str(&lines.concat());
    text
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    #[test]
    fn reference_is_fresh() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        let expected = super::reference();
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &expected).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == expected,
            "docs/metrics.md is stale: UPDATE_DOCS=1 cargo test -p sensor reference"
        );
    }
}
