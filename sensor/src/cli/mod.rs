//! The command line: one file a command, data on stdout, messages on stderr.
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage.

mod ask;
mod completions;
mod config;
mod detach;
mod doctor;
mod duration;
mod lists;
mod read;
mod run;
mod table;

use std::{io, process::ExitCode};

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  sensor run -i eth0                     count, sample and dissect what crosses eth0
  sensor run -i eth0 --json --for 60     one minute of events as EVE JSON Lines
  sensor read --json capture.pcapng.zst  the same engine over a capture
  sensor doctor -i eth0                  would it run here, and what is in the way?
  sensor flows --sort bytes              ask the running sensor for its live flows
  sensor block add 192.0.2.7 --for 10m   drop what comes from there, for ten minutes

";

/// A network sensor: XDP counts every flow exactly, one engine dissects live traffic and captures.
#[derive(Debug, Parser)]
#[command(
    name = "sensor",
    version,
    before_help = EXAMPLES,
    after_help = "Exit status: 0 done, 1 failed, 2 wrong usage.",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Attach to interfaces: count, sample, dissect, detect, export
    Run(Box<run::RunArgs>),
    /// Run the engine over captures: a summary, or EVE JSON Lines
    Read(read::ReadArgs),
    /// Would it run here, and what is in the way?
    Doctor(doctor::DoctorArgs),
    /// Is the running sensor well?
    Status(ask::Common),
    /// The running sensor's live flows, largest first
    Flows(ask::FlowsArgs),
    /// The running sensor's counters
    Stats(ask::Common),
    /// Remove a data plane that was left at work (`pin.enabled`)
    Detach(detach::DetachArgs),
    /// The block list: drop packets from these addresses, or to these ports
    #[command(subcommand)]
    Block(lists::BlockCommand),
    /// The allow list: what neither the block list nor the guard stops
    #[command(subcommand)]
    Allow(lists::AllowCommand),
    /// The kill switch: let every packet pass, whatever lists and guard say
    Pass(lists::PassArgs),
    /// Check, show or describe the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Print the completion script of a shell
    Completions(completions::Args),
}

/// Runs the command that the process's arguments name.
#[must_use]
pub fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(status) => status,
        // `sensor flows | head` is not a failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Read(args) => read::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Status(common) => ask::status(&common),
        Command::Flows(args) => ask::flows(&args),
        Command::Stats(common) => ask::stats(&common),
        Command::Detach(args) => detach::run(&args),
        Command::Block(command) => lists::block(&command),
        Command::Allow(command) => lists::allow(&command),
        Command::Pass(args) => lists::pass(&args),
        Command::Config(command) => config::run(command),
        Command::Completions(args) => completions::run(&args),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_leads_with_examples() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.starts_with("Examples:"), "{help}");
    }
}
