//! `sensor-lab lists`: how long a feed takes until it is in force, and a command beside it, while
//! packets arrive at a running sensor.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use sensor::daemon::control::{ListAction, ListRequest, Request, ask};
use sensor::lists::List;
use sensor_tests::{Generator, Lab, LabOptions, Sensor, SensorOptions, StreamSpec, scratch, until};
use serde::Serialize;
use serde_json::Value;

/// Where the generator's packets come from: listed by every feed, and first by no other line.
const TRAFFIC: &str = "198.18.0.0/15";

/// Commands of each kind.
const COMMANDS: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Prefixes of the feed.
    #[arg(long, default_value_t = 100_000)]
    prefixes: usize,
    /// Packets a second meanwhile.
    #[arg(long, default_value_t = 100_000)]
    rate: u64,
    /// Runs; of each row the worst counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    value: f64,
    unit: &'static str,
    ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Figures {
    conditions: Vec<String>,
    rows: Vec<Row>,
}

/// The longest of each, seconds.
#[derive(Debug, Default)]
struct Worst {
    alone: f64,
    loaded: f64,
    replaced: f64,
    beside: f64,
    emptied: f64,
}

/// Measures and writes the figures to stdout as JSON.
///
/// # Errors
/// If the lab or the sensor fails, or a list is not what it should be; not if figures are bad.
pub(crate) fn run(binary: &Path, options: &Options) -> Result<()> {
    let bed = Bed::new(binary, options.rate)?;
    let mut worst = Worst::default();
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let half = options.prefixes / 2;
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        let shared = feed(&mut numbers, half);
        let first = shared.clone() + &feed(&mut numbers, options.prefixes - half);
        // Shorter, so that it can be told from the first.
        let second = shared + &feed(&mut numbers, (options.prefixes - half) * 9 / 10);
        let longest = |of: &mut f64, took: Duration| *of = of.max(took.as_secs_f64());
        longest(&mut worst.alone, bed.command()?);
        longest(&mut worst.loaded, bed.reload(&first)?);
        bed.stops_all()?;
        longest(&mut worst.beside, bed.command()?);
        longest(&mut worst.replaced, bed.reload(&second)?);
        longest(&mut worst.emptied, bed.reload("")?);
    }
    let sent = bed.finish()?;
    let row = |name, seconds: f64, unit, scale: f64| Row {
        name,
        value: seconds * scale,
        unit,
        ratio: None,
    };
    let figures = Figures {
        conditions: vec![
            format!("{} IPv4 prefixes between /18 and /32", options.prefixes),
            format!(
                "{sent:.0} SYNs/s of 65,536 flows arrive meanwhile, of sources in the feed; every \
                 one counted, accounting error 0"
            ),
            "from SIGHUP until the sensor says that all of the feed is in force: the file is read, \
             flattened and written to the maps; then no packet passes"
                .to_owned(),
            format!(
                "a command: median of {COMMANDS} additions and deletions of one address, from the \
                 request to the answer; the live loop looks for requests every 20 ms or sooner"
            ),
            format!("the longest of {} rounds", options.rounds),
        ],
        rows: vec![
            row("a feed comes into force", worst.loaded, "s", 1.0),
            row("half of it is replaced", worst.replaced, "s", 1.0),
            row("all of it goes", worst.emptied, "s", 1.0),
            row("block add or del, empty lists", worst.alone, "ms", 1e3),
            row("block add or del beside the feed", worst.beside, "ms", 1e3),
        ],
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &figures)?;
    writeln!(out)?;
    Ok(())
}

/// A sensor with a feed, and traffic.
struct Bed {
    lab: Lab,
    sensor: Sensor,
    generator: Generator,
    feed: PathBuf,
    socket: PathBuf,
    started: Instant,
    _directory: tempfile::TempDir,
}

impl Bed {
    fn new(binary: &Path, rate: u64) -> Result<Self> {
        let directory = scratch()?;
        let path = |name: &str| directory.path().join(name);
        let (feed, config, socket) = (path("feed.txt"), path("sensor.toml"), path("control.sock"));
        std::fs::write(&feed, "")?;
        // Without the guard: these SYNs are only to be many.
        std::fs::write(
            &config,
            format!("[guard]\nmode = \"off\"\n[lists]\nfeeds = [{feed:?}]\n"),
        )?;
        let config = config.to_str().context("a path that is not UTF-8")?;
        let lab = Lab::new(LabOptions::default())?;
        let options = SensorOptions {
            binary: Some(binary.into()),
            socket: Some(socket.clone()),
            discard_events: true,
            args: ["-c", config].map(str::to_owned).into(),
            ..SensorOptions::default()
        };
        let sensor = Sensor::start(&lab.server, &options)?;
        let spec = StreamSpec {
            flows: 1 << 16,
            rate: Some(rate),
            ..StreamSpec::syns((lab.server.ipv4(0), 81).into(), lab.server.mac())
        };
        let generator = Generator::start(&lab.wire, "ws", &spec)?;
        until("traffic", || (generator.sent() > 0).then_some(()))?;
        Ok(Self {
            lab,
            sensor,
            generator,
            feed,
            socket,
            started: Instant::now(),
            _directory: directory,
        })
    }

    fn ask(&self, request: &Request) -> Result<Value> {
        Ok(ask(&self.socket, request)?)
    }

    /// Reloads with these prefixes, beside that of the traffic unless there are none.
    fn reload(&self, prefixes: &str) -> Result<Duration> {
        let mut text = prefixes.to_owned();
        if !text.is_empty() {
            writeln!(text, "{TRAFFIC}")?;
        }
        let count = text.lines().collect::<HashSet<_>>().len() as u64;
        ensure!(self.listed()? != count, "a reload that nobody could tell");
        let file = self.feed.with_extension("new");
        std::fs::write(&file, text)?;
        std::fs::rename(file, &self.feed)?;
        let begun = Instant::now();
        // SAFETY: the child is not reaped before it is waited for, so the id is its own.
        unsafe { libc::kill(self.sensor.id() as libc::pid_t, libc::SIGHUP) };
        until("the reload", || {
            // Answered by the thread that puts lists into force, so never in the middle of it.
            let is_in_force = self.listed().ok()? == count;
            is_in_force.then(|| begun.elapsed())
        })
    }

    fn listed(&self) -> Result<u64> {
        let status = self.ask(&Request::Status {})?;
        status["lists"]["block"].as_u64().context("no number")
    }

    /// No packet of the traffic passes any more: nothing answers it.
    fn stops_all(&self) -> Result<()> {
        let answered = || Ok::<_, anyhow::Error>(self.lab.server.counters()?.tx_packets);
        // What was under way when the lists came into force.
        std::thread::sleep(Duration::from_millis(100));
        let (before, sent) = (answered()?, self.generator.sent());
        until("more traffic", || {
            (self.generator.sent() > sent + 1000).then_some(())
        })?;
        // The host speaks of itself now and then (neighbour discovery).
        let passed = answered()? - before;
        ensure!(passed < 10, "{passed} packets were answered");
        Ok(())
    }

    /// The median of additions and deletions.
    fn command(&self) -> Result<Duration> {
        let mut took = Vec::with_capacity(2 * COMMANDS);
        for number in 0..COMMANDS {
            let address = Ipv4Addr::from(0xc000_0200 | number as u32).to_string();
            let targets = vec![address.parse()?];
            let add = ListAction::Add {
                targets: targets.clone(),
                seconds: None,
                reason: String::new(),
                dry_run: false,
            };
            for action in [add, ListAction::Del { targets }] {
                let list = List::Block;
                let begun = Instant::now();
                self.ask(&Request::Lists(ListRequest { list, action }))?;
                took.push(begun.elapsed());
            }
        }
        took.sort_unstable();
        took.get(COMMANDS).copied().context("no command")
    }

    /// Ends all of it; packets a second.
    fn finish(self) -> Result<f64> {
        let error = self.sensor.sum("sensor_accounting_error_packets", &[])?;
        ensure!(error == 0.0, "accounting error {error}");
        let sent = self.generator.stop()?;
        let seconds = self.started.elapsed().as_secs_f64();
        self.sensor.stop()?;
        Ok(sent.frames as f64 / seconds)
    }
}

/// Numbers that look random and are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }
}

/// Prefixes between /18 and /32 below 128.0.0.0, a line each and none twice.
fn feed(numbers: &mut Numbers, count: usize) -> String {
    let mut seen = HashSet::new();
    let mut text = String::new();
    while seen.len() < count {
        let len = 18 + numbers.next() % 15;
        let net = numbers.next() >> 1 & u32::MAX << (32 - len);
        if seen.insert((net, len)) {
            text += &format!("{}/{len}\n", Ipv4Addr::from(net));
        }
    }
    text
}
