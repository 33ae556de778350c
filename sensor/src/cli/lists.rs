//! `sensor block`, `sensor allow`, `sensor pass`.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    ask::{Common, answer},
    duration, table,
};
use crate::{
    daemon::control::{ListAction, ListRequest, Request},
    lists::{List, Target},
};

const TARGETS: &str = "An address (192.0.2.7), a prefix (2001:db8::/32) or a destination port \
                       (tcp/22, udp/53, sctp/9); several may be given";

#[derive(Debug, clap::Subcommand)]
pub(super) enum BlockCommand {
    /// Drop packets from these addresses, or to these ports; again changes what was said before
    Add {
        #[command(flatten)]
        add: AddArgs,
        /// Count what would be dropped, and drop nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take off the list what a command or a detector put there
    Del(DelArgs),
    /// Show the list with hits and remaining times
    List(ListArgs),
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum AllowCommand {
    /// Never drop packets from these addresses, or to these ports; again changes what was said
    /// before
    Add(AddArgs),
    /// Take off the list what a command put there
    Del(DelArgs),
    /// Show the list; hits are packets that would have been dropped without it
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    #[command(flatten)]
    common: Common,
    #[arg(required = true, value_name = "TARGET", help = TARGETS)]
    targets: Vec<Target>,
    /// How long: 90s, 10m, 2h, 7d; without it for as long as the sensor runs
    #[arg(long = "for", value_name = "TIME", value_parser = duration::seconds)]
    seconds: Option<u64>,
    /// Why, for whoever reads the list
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct DelArgs {
    #[command(flatten)]
    common: Common,
    #[arg(required = true, value_name = "TARGET", help = TARGETS)]
    targets: Vec<Target>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    common: Common,
    /// Only entries that hold for this address, prefix or port
    #[arg(value_name = "TARGET")]
    about: Option<Target>,
    /// How many; those of feeds come last
    #[arg(short = 'n', long, default_value_t = 1000)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
pub(super) struct PassArgs {
    #[command(flatten)]
    common: Common,
    /// Turn it on or off; without it: how does it stand?
    state: Option<Switch>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Switch {
    /// Neither lists nor guard are asked, every packet passes
    On,
    /// Lists and guard are asked
    Off,
}

pub(super) fn block(command: &BlockCommand) -> anyhow::Result<ExitCode> {
    match command {
        BlockCommand::Add { add, dry_run } => add.send(List::Block, *dry_run),
        BlockCommand::Del(args) => args.send(List::Block),
        BlockCommand::List(args) => args.send(List::Block),
    }
}

pub(super) fn allow(command: &AllowCommand) -> anyhow::Result<ExitCode> {
    match command {
        AllowCommand::Add(args) => args.send(List::Allow, false),
        AllowCommand::Del(args) => args.send(List::Allow),
        AllowCommand::List(args) => args.send(List::Allow),
    }
}

pub(super) fn pass(args: &PassArgs) -> anyhow::Result<ExitCode> {
    let on = args.state.map(|state| matches!(state, Switch::On));
    answer(&args.common, &Request::Pass { on }, |value| {
        let state = if value["pass_all"] == true {
            "on: every packet passes, lists and guard are not asked"
        } else {
            "off: lists and guard are asked"
        };
        format!("The kill switch is {state}.\n")
    })
}

fn request(list: List, action: ListAction) -> Request {
    Request::Lists(ListRequest { list, action })
}

fn nothing(_: &Value) -> String {
    String::new()
}

impl AddArgs {
    fn send(&self, list: List, dry_run: bool) -> anyhow::Result<ExitCode> {
        let action = ListAction::Add {
            targets: self.targets.clone(),
            seconds: self.seconds,
            reason: self.reason.clone(),
            dry_run,
        };
        answer(&self.common, &request(list, action), nothing)
    }
}

impl DelArgs {
    fn send(&self, list: List) -> anyhow::Result<ExitCode> {
        let targets = self.targets.clone();
        answer(
            &self.common,
            &request(list, ListAction::Del { targets }),
            nothing,
        )
    }
}

impl ListArgs {
    fn send(&self, list: List) -> anyhow::Result<ExitCode> {
        let action = ListAction::List {
            limit: self.limit,
            about: self.about,
        };
        answer(&self.common, &request(list, action), table::list)
    }
}
