//! Development commands: `cargo xtask --help`.

mod bench;
mod build;
mod command;
mod ebpf;
mod fuzz;
mod packages;
mod run;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development commands of the sensor, on stable Rust.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build what is missing and show the sensor at work: in a lab of network namespaces, or
    /// with arguments after `--` as `sensor run ARGS` on a real interface.
    Run {
        /// End after so many seconds (default: until Ctrl-C).
        #[arg(long = "for", value_name = "SECONDS")]
        seconds: Option<u64>,
        /// Arguments for `sensor run`, e.g. `-- -i eth0`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run every test; what the machine lacks is installed or named.
    Test {
        /// Only tests whose name contains one of these (skips lints and other checks);
        /// `second-kernel` is what runs in a virtual machine.
        filters: Vec<String>,
    },
    /// Build target/release/sensor, one binary with the BPF object inside.
    Build,
    /// Rebuild the committed BPF objects.
    Ebpf {
        /// Prove that the committed objects are what the sources give, changing nothing.
        #[arg(long)]
        check: bool,
    },
    /// Measure, with each figure beside its peers in the same run.
    Bench {
        #[arg(value_enum, default_value_t = bench::Suite::All)]
        suite: bench::Suite,
        /// Write the figures to this file as well.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Record the figures in docs/performance.md.
        #[arg(long)]
        record: bool,
    },
    /// Build the fuzz targets and run each for a while (stable Rust, without a sanitizer).
    Fuzz {
        /// Seconds for each target.
        #[arg(long = "for", value_name = "SECONDS", default_value_t = 10)]
        seconds: u64,
        /// Only targets whose name contains one of these.
        targets: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run { seconds, args } => run::run(seconds, &args),
        Verb::Test { filters } => test::run(&filters),
        Verb::Build => build::sensor().map(|binary| eprintln!("{}", binary.display())),
        Verb::Ebpf { check } => ebpf::run(check),
        Verb::Bench {
            suite,
            json,
            record,
        } => bench::run(suite, json.as_deref(), record),
        Verb::Fuzz { seconds, targets } => fuzz::run(seconds, &targets),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
