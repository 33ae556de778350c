//! `sensor-lab flood`: what a SYN flood costs whom. Three parts: how many SYNs a second each
//! contender takes on one core (capacity), what becomes of clients meanwhile (harm), and of a crowd
//! of clients where there is no flood (crowd).

mod contender;
mod crowd;
mod round;

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Serialize;

use contender::Contender;
use round::Round;
use sensor_tests::flood::{Defence, FILTER_RATE, PATIENCE};

/// Length of a run of the capacity part.
const CAPACITY_RUN: Duration = Duration::from_secs(2);

/// Which part to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// SYNs a second on one core, without clients.
    Capacity,
    /// Clients while the flood runs.
    Harm,
    /// Many clients and no flood.
    Crowd,
}

/// What to measure, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this part (default: all).
    #[arg(long)]
    part: Option<Part>,
    /// Only contenders whose name contains one of these words.
    #[arg(long = "contender", value_name = "WORD")]
    contenders: Vec<String>,
    /// SYNs a second of the harm part; 0 for as many as the attacker can make.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "100000,500000,1000000,1488000,0"
    )]
    rates: Vec<u64>,
    /// Legitimate connections a second.
    #[arg(long, default_value_t = 200)]
    clients: u32,
    /// Over IPv6 instead of IPv4 (harm; the others are measured over both).
    #[arg(long)]
    ipv6: bool,
    /// Length of a run of the harm part.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Runs of the capacity part of each, interleaved; the best counts.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

/// What goes to stdout.
#[derive(Debug, Default, Serialize)]
struct Figures {
    conditions: Vec<String>,
    rows: Vec<Row>,
    harm: Vec<Harm>,
    crowd: Vec<crowd::Row>,
}

/// Capacity of a contender.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    /// To `XDP_DROP` of everything, same family.
    ratio: Option<f64>,
}

/// What clients met under a contender and a flood.
#[derive(Debug, Serialize)]
struct Harm {
    contender: &'static str,
    family: &'static str,
    /// SYNs a second that were asked for; 0 for as many as possible.
    asked: u64,
    /// Packets a second that the server's program saw.
    seen: f64,
    /// Share of all packets that the queue dropped before it.
    queue_dropped: f64,
    clients: u64,
    /// Percent of them.
    success: f64,
    connect_p50_ms: Option<f64>,
    connect_p99_ms: Option<f64>,
    /// Processor time for each packet that was seen, the attacker's own included.
    cpu_ns: f64,
    accounting_error: u64,
}

/// Measures and writes the figures to stdout as JSON.
///
/// # Errors
/// If the lab fails; not if figures are bad.
pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted = |contender: &Contender| {
        let words = &options.contenders;
        words.is_empty()
            || words
                .iter()
                .any(|word| contender.name().contains(word.as_str()))
    };
    let contenders: Vec<_> = Contender::ALL.into_iter().filter(wanted).collect();
    let mut figures = Figures {
        conditions: conditions(options),
        ..Figures::default()
    };
    let asks = |part| options.part.is_none_or(|only| only == part);
    if asks(Part::Capacity) {
        figures.rows = capacity(&contenders, options.rounds, &mut figures.conditions);
    }
    if asks(Part::Harm) {
        for &rate in &options.rates {
            for &contender in contenders.iter().filter(|one| one.lets_clients_in()) {
                match harm(contender, rate, options) {
                    Ok(row) => figures.harm.push(row),
                    // The others' figures are worth having all the same.
                    Err(error) => leave_out(&mut figures.conditions, contender, &error),
                }
            }
        }
    }
    if asks(Part::Crowd) {
        for ipv6 in [false, true] {
            for &contender in contenders.iter().filter(|one| one.lets_clients_in()) {
                match crowd::measure(contender, ipv6) {
                    Ok(row) => figures.crowd.push(row),
                    Err(error) => leave_out(&mut figures.conditions, contender, &error),
                }
            }
        }
    }
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &figures)?;
    writeln!(out)?;
    Ok(())
}

/// Best of some interleaved rounds, each with its ratio to the drop of everything.
fn capacity(contenders: &[Contender], rounds: u32, conditions: &mut Vec<String>) -> Vec<Row> {
    let mut rows = Vec::new();
    for ipv6 in [false, true] {
        let mut best = vec![0.0_f64; contenders.len()];
        for round in 0..rounds {
            for (best, &contender) in best.iter_mut().zip(contenders) {
                eprintln!("capacity, round {}: {}", round + 1, contender.name());
                let fight = Round {
                    contender,
                    ipv6,
                    rate: None,
                    clients: None,
                    length: CAPACITY_RUN,
                };
                match fight.fight() {
                    Ok(fought) => *best = best.max(1.0 / fought.cost.as_secs_f64()),
                    Err(error) => leave_out(conditions, contender, &error),
                }
            }
        }
        let whole = contenders
            .iter()
            .position(|one| *one == Contender::Other(Defence::DropAll))
            .map(|at| best[at]);
        for (value, contender) in best.into_iter().zip(contenders) {
            rows.push(Row {
                name: format!("{}, {}", contender.name(), family(ipv6)),
                value,
                unit: "SYN/s",
                ratio: whole.map(|whole| value / whole),
            });
        }
    }
    rows
}

fn harm(contender: Contender, rate: u64, options: &Options) -> Result<Harm> {
    eprintln!("harm at {rate} SYN/s: {}", contender.name());
    let fight = Round {
        contender,
        ipv6: options.ipv6,
        rate: (rate != 0).then_some(rate),
        clients: Some(options.clients),
        length: Duration::from_secs(options.seconds),
    };
    let fought = fight.fight()?;
    let outcome = &fought.outcome;
    let within = |share| Some(outcome.connected_within(share)?.as_secs_f64() * 1e3);
    Ok(Harm {
        contender: contender.name(),
        family: family(options.ipv6),
        asked: rate,
        seen: fought.seen,
        queue_dropped: fought.queue_dropped,
        clients: outcome.all(),
        success: outcome.success() * 100.0,
        connect_p50_ms: within(0.5),
        connect_p99_ms: within(0.99),
        cpu_ns: fought.cost.as_secs_f64() * 1e9,
        accounting_error: fought.accounting_error,
    })
}

const fn family(ipv6: bool) -> &'static str {
    if ipv6 { "IPv6" } else { "IPv4" }
}

fn leave_out(conditions: &mut Vec<String>, contender: Contender, error: &anyhow::Error) {
    let line = format!("not measured: {}: {error:#}", contender.name());
    eprintln!("{line}");
    if !conditions.contains(&line) {
        conditions.push(line);
    }
}

fn conditions(options: &Options) -> Vec<String> {
    vec![
        "attacker: SYNs with an MSS option, each from a source, port and sequence number of its \
         own, straight into the protected device's queue"
            .to_owned(),
        "attacker, receive path (NAPI) and the sink of its answers run on CPU 1, to which clients' \
         packets come as well; clients and server run on CPU 0"
            .to_owned(),
        "a veth queue has 256 slots, where a network card has thousands".to_owned(),
        format!(
            "capacity: SYNs for each second of CPU 1's processor time, the attacker's making of \
             them included; best of {} interleaved runs of {CAPACITY_RUN:?}",
            options.rounds
        ),
        format!(
            "harm: {} connections a second for {} s, each a page of 6,000 bytes that is compared; \
             served means within {PATIENCE:?} and without a wrong byte",
            options.clients, options.seconds
        ),
        format!("nftables limit; guard, rate: {FILTER_RATE} SYN/s pass, whoever sent them"),
        format!(
            "crowd: {} connections a second for {:?}, each from an address of its own; the guard \
             mitigates, and its limit of all SYNs is off",
            crowd::RATE,
            crowd::LENGTH
        ),
    ]
}
