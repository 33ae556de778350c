//! `sensor doctor`: would the sensor run here, and what is in the way?

mod interface;
mod offload;
mod pinned;
mod syn;
mod system;

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use serde::Serialize;

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// Interface to look at; may be given several times
    #[arg(short, long = "interface", value_name = "IFACE")]
    interfaces: Vec<String>,
    /// As one JSON array of findings
    #[arg(long)]
    json: bool,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Ok,
    /// It runs, but worse than it could.
    Warning,
    /// It will not run.
    Failure,
}

/// What was looked at, what was found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    subject: String,
    grade: Grade,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Finding {
    fn ok(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            grade: Grade::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn warning(
        subject: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (subject, found, remedy) = (subject.into(), found.into(), Some(remedy.into()));
        Self {
            subject,
            grade: Grade::Warning,
            found,
            remedy,
        }
    }

    fn failure(
        subject: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            grade: Grade::Failure,
            ..Self::warning(subject, found, remedy)
        }
    }
}

/// The status is 1 if something would prevent running.
pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut findings = system::examine();
    findings.extend(pinned::examine());
    findings.extend(syn::examine());
    for name in &args.interfaces {
        findings.extend(interface::examine(name));
    }
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &findings).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        out.write_all(render(&findings).as_bytes())?;
    }
    let failed = findings
        .iter()
        .any(|finding| finding.grade == Grade::Failure);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn render(findings: &[Finding]) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.subject.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for Finding {
        subject,
        grade,
        found,
        remedy,
    } in findings
    {
        let mark = match grade {
            Grade::Ok => "ok  ",
            Grade::Warning => "warn",
            Grade::Failure => "FAIL",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{mark}  {subject:<width$}  {found}");
        if let Some(remedy) = remedy {
            let _ = writeln!(text, "      {:<width$}  -> {remedy}", "");
        }
    }
    text
}

/// A one-line file of /proc or /sys.
fn line(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_aligned_with_their_remedies() {
        let text = render(&[
            Finding::ok("kernel", "6.18"),
            Finding::failure("capabilities", "no CAP_BPF", "run as root"),
        ]);
        assert_eq!(
            text,
            "ok    kernel        6.18\n\
             FAIL  capabilities  no CAP_BPF\n                    -> run as root\n"
        );
    }
}
