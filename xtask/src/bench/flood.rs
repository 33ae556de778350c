use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{Figures, Report};
use crate::build;
use crate::command::{as_root, output};

/// Characters of the chart's longest bar.
const BAR: usize = 40;

/// What clients met under one contender and flood, as the lab's program tells it.
#[derive(Debug, Deserialize)]
struct Harm {
    contender: String,
    family: String,
    /// SYNs a second; 0 for as many as the attacker can make.
    asked: u64,
    seen: f64,
    queue_dropped: f64,
    clients: u64,
    success: f64,
    connect_p50_ms: Option<f64>,
    connect_p99_ms: Option<f64>,
    cpu_ns: f64,
    accounting_error: u64,
}

/// What a crowd of clients met under one contender, without a flood.
#[derive(Debug, Deserialize)]
struct Crowd {
    contender: String,
    family: String,
    clients: u64,
    success: f64,
    connect_p50_ms: Option<f64>,
    connect_p99_ms: Option<f64>,
    connect_max_ms: Option<f64>,
    queue_dropped: f64,
    accounting_error: u64,
}

#[derive(Deserialize)]
struct Part {
    harm: Vec<Harm>,
    crowd: Vec<Crowd>,
}

/// A SYN flood against the guard and its peers, measured by the lab's program, as root.
pub(super) fn measure() -> Result<Report> {
    let mut lab = as_root(build::lab()?, &[])?;
    let text = output(lab.arg("flood"))?;
    let mut report = Report::new("flood", "SYN flood: what each contender takes on one core");
    Figures::read(&text)?.add_to(&mut report);
    let part: Part =
        serde_json::from_str(&text).context("the program that measures told of no clients")?;
    report.part(table(&part.harm));
    report.part(chart(&part.harm));
    report.part(crowds(&part.crowd));
    Ok(report)
}

fn millis(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"))
}

/// Many clients and no flood.
fn crowds(crowds: &[Crowd]) -> String {
    let mut text = "A crowd of legitimate clients, without a flood\n\n\
         | contender | served | connect p50, ms | p99, ms | slowest, ms | queue drops \
         | accounting error |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for row in crowds {
        let _ = writeln!(
            text,
            "| {}, {} | {:.2} % of {} | {} | {} | {} | {:.2} % | {} |",
            row.contender,
            row.family,
            row.success,
            row.clients,
            millis(row.connect_p50_ms),
            millis(row.connect_p99_ms),
            millis(row.connect_max_ms),
            row.queue_dropped * 100.0,
            row.accounting_error,
        );
    }
    text
}

/// Clients while the flood runs.
fn table(harm: &[Harm]) -> String {
    let mut text = "Legitimate clients while the flood runs\n\n\
         | flood, SYN/s | contender | seen, SYN/s | queue drops | served | connect p50, ms \
         | p99, ms | CPU 1, ns a packet | accounting error |\n\
         | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for row in harm {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {}, {} | {:.0} | {:.2} % | {:.2} % of {} | {} | {} | {:.0} | {} |",
            flood(row.asked),
            row.contender,
            row.family,
            row.seen,
            row.queue_dropped * 100.0,
            row.success,
            row.clients,
            millis(row.connect_p50_ms),
            millis(row.connect_p99_ms),
            row.cpu_ns,
            row.accounting_error,
        );
    }
    text
}

/// The share of clients served, a bar for each row of the table.
fn chart(harm: &[Harm]) -> String {
    let mut text = "Clients served within 3 s\n\n```text\n".to_owned();
    let width = harm
        .iter()
        .map(|row| row.contender.len())
        .max()
        .unwrap_or(0);
    let mut asked = None;
    for row in harm {
        if asked != Some(row.asked) {
            let _ = writeln!(text, "{} SYN/s", flood(row.asked));
            asked = Some(row.asked);
        }
        let full = (row.success / 100.0 * BAR as f64).round() as usize;
        let _ = writeln!(
            text,
            "  {:width$}  {}{} {:6.2} %",
            row.contender,
            "█".repeat(full.min(BAR)),
            "·".repeat(BAR.saturating_sub(full)),
            row.success
        );
    }
    text += "```\n";
    text
}

fn flood(asked: u64) -> String {
    if asked == 0 {
        "flat out".to_owned()
    } else {
        asked.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{Crowd, Harm, chart, crowds, table};

    fn row(asked: u64, success: f64) -> Harm {
        Harm {
            contender: "guard".to_owned(),
            family: "IPv4".to_owned(),
            asked,
            seen: 99_999.6,
            queue_dropped: 0.0123,
            clients: 1000,
            success,
            connect_p50_ms: Some(0.25),
            connect_p99_ms: None,
            cpu_ns: 512.0,
            accounting_error: 0,
        }
    }

    #[test]
    fn rows_and_bars_say_the_same() {
        let rows = [row(100_000, 50.0), row(0, 100.0)];
        let table = table(&rows);
        let line =
            "| 100000 | guard, IPv4 | 100000 | 1.23 % | 50.00 % of 1000 | 0.25 | - | 512 | 0 |";
        assert!(table.contains(line), "{table}");
        let chart = chart(&rows);
        let bars: Vec<_> = chart
            .lines()
            .map(|line| line.matches('█').count())
            .collect();
        assert_eq!(
            bars.iter().filter(|&&bar| bar > 0).collect::<Vec<_>>(),
            [&20, &40]
        );
        assert!(chart.contains("flat out SYN/s"), "{chart}");
    }

    #[test]
    fn a_crowd_is_told_with_its_slowest() {
        let row = Crowd {
            contender: "guard".to_owned(),
            family: "IPv6".to_owned(),
            clients: 10_000,
            success: 99.95,
            connect_p50_ms: Some(0.25),
            connect_p99_ms: Some(1.5),
            connect_max_ms: Some(1007.0),
            queue_dropped: 0.0,
            accounting_error: 0,
        };
        let line = "| guard, IPv6 | 99.95 % of 10000 | 0.25 | 1.50 | 1007.00 | 0.00 % | 0 |";
        assert!(crowds(&[row]).contains(line));
    }
}
