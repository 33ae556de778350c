//! `sensor-lab`: the lab as a program. `cargo xtask run` and `cargo xtask bench ring` build it
//! as the invoking user and start it as root.

mod bench;
mod figures;
mod flood_bench;
mod lists_bench;
mod program;
mod show;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "sensor-lab",
    about = "A lab of network namespaces around a sensor"
)]
struct Cli {
    /// The sensor's binary.
    #[arg(long, global = true, default_value = "sensor")]
    sensor: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play real traffic and show what the sensor sees and does.
    Show {
        /// End after so many seconds (default: until Ctrl-C).
        #[arg(long = "for", value_name = "SECONDS")]
        seconds: Option<u64>,
    },
    /// Measure the sensor beside a bare XDP_DROP; figures as JSON on stdout.
    Bench {
        /// Length of each run.
        #[arg(long, default_value_t = 3)]
        seconds: u64,
        /// Runs of each, interleaved; the best counts.
        #[arg(long, default_value_t = 3)]
        rounds: u32,
    },
    /// Measure what a SYN flood costs, and clients meanwhile; figures as JSON on stdout.
    Flood(flood_bench::Options),
    /// Measure how long a feed takes until it is in force; figures as JSON on stdout.
    Lists(lists_bench::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Show { seconds } => show::run(&cli.sensor, seconds),
        Command::Flood(options) => flood_bench::run(&options),
        Command::Lists(options) => lists_bench::run(&cli.sensor, &options),
        Command::Bench { seconds, rounds } => bench::run(&cli.sensor, seconds, rounds),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sensor-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
