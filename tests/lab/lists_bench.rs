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
use sensor_tests::{
    Generator, Lab, LabOptions, Numbers, Sensor, SensorOptions, Sent, StreamSpec, scratch, until,
};
use serde_json::Value;

use crate::figures::{Figures, Row};

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
    /// Runs of each.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

/// Of reloads the longest of all rounds, of commands the shortest, seconds.
#[derive(Debug)]
struct Found {
    loaded: Took,
    replaced: Took,
    emptied: Took,
    alone: Took,
    beside: Took,
}

/// What one change takes, seconds.
#[derive(Clone, Copy, Debug)]
struct Took {
    /// From the request to the answer.
    trip: f64,
    /// Processor time of the sensor.
    busy: f64,
}

impl Took {
    const NOTHING: Self = Self {
        trip: 0.0,
        busy: 0.0,
    };
    const ETERNITY: Self = Self {
        trip: f64::INFINITY,
        busy: f64::INFINITY,
    };

    fn most(self, other: Self) -> Self {
        Self {
            trip: self.trip.max(other.trip),
            busy: self.busy.max(other.busy),
        }
    }

    fn least(self, other: Self) -> Self {
        Self {
            trip: self.trip.min(other.trip),
            busy: self.busy.min(other.busy),
        }
    }
}

/// Measures and writes the figures to stdout as JSON.
///
/// # Errors
/// If the lab or the sensor fails, or a list is not what it should be; not if figures are bad.
pub(crate) fn run(binary: &Path, options: &Options) -> Result<()> {
    let bed = Bed::new(binary, options.rate)?;
    let mut found = Found {
        loaded: Took::NOTHING,
        replaced: Took::NOTHING,
        emptied: Took::NOTHING,
        alone: Took::ETERNITY,
        beside: Took::ETERNITY,
    };
    let mut rate = f64::INFINITY;
    let mut numbers = Numbers::new(0x1234_5678_9abc_def1);
    let half = options.prefixes / 2;
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        let shared = numbers.feed(half);
        let first = shared.clone() + &numbers.feed(options.prefixes - half);
        // Shorter, so that it can be told from the first.
        let second = shared + &numbers.feed((options.prefixes - half) * 9 / 10);
        found.alone = found.alone.least(bed.commands()?);
        let traffic = bed.traffic()?;
        found.loaded = found.loaded.most(bed.reload(&first)?);
        bed.stops_all(&traffic)?;
        found.replaced = found.replaced.most(bed.reload(&second)?);
        rate = rate.min(per_second(traffic.stop()?));
        found.beside = found.beside.least(bed.commands()?);
        let traffic = bed.traffic()?;
        found.emptied = found.emptied.most(bed.reload("")?);
        rate = rate.min(per_second(traffic.stop()?));
    }
    bed.finish()?;
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
                "{rate:.0} SYNs/s or more of 65,536 flows arrive meanwhile, of sources in the feed; \
                 accounting error 0"
            ),
            "from SIGHUP until the sensor says that all of the feed is in force: the file is read, \
             flattened and written to the maps; then no packet passes"
                .to_owned(),
            format!("the longest of {} rounds", options.rounds),
            format!(
                "commands come without traffic: {COMMANDS} additions and as many deletions of one \
                 address; the round whose median is the shortest. The live loop looks for requests \
                 every 20 ms or sooner, so its processor time is told, too"
            ),
        ],
        rows: vec![
            row("a feed comes into force", found.loaded.trip, "s", 1.0),
            row("  processor time", found.loaded.busy, "s", 1.0),
            row("half of it is replaced", found.replaced.trip, "s", 1.0),
            row("  processor time", found.replaced.busy, "s", 1.0),
            row("all of it goes", found.emptied.trip, "s", 1.0),
            row("  processor time", found.emptied.busy, "s", 1.0),
            row("block add or del, empty lists", found.alone.trip, "ms", 1e3),
            row("  processor time", found.alone.busy, "ms", 1e3),
            row("block add or del beside the feed", found.beside.trip, "ms", 1e3),
            row("  processor time", found.beside.busy, "ms", 1e3),
        ],
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &figures)?;
    writeln!(out)?;
    Ok(())
}

fn per_second(sent: Sent) -> f64 {
    sent.frames as f64 / sent.elapsed.as_secs_f64()
}

/// A sensor with a feed.
struct Bed {
    lab: Lab,
    sensor: Sensor,
    rate: u64,
    feed: PathBuf,
    socket: PathBuf,
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
        Ok(Self {
            lab,
            sensor,
            rate,
            feed,
            socket,
            _directory: directory,
        })
    }

    /// Packets from now on.
    fn traffic(&self) -> Result<Generator> {
        let spec = StreamSpec {
            flows: 1 << 16,
            rate: Some(self.rate),
            ..StreamSpec::syns((self.lab.server.ipv4(0), 81).into(), self.lab.server.mac())
        };
        let generator = Generator::start(&self.lab.wire, "ws", &spec)?;
        until("traffic", || (generator.sent() > 0).then_some(()))?;
        Ok(generator)
    }

    fn ask(&self, request: &Request) -> Result<Value> {
        Ok(ask(&self.socket, request)?)
    }

    /// Reloads with these prefixes, beside that of the traffic unless there are none.
    fn reload(&self, prefixes: &str) -> Result<Took> {
        let mut text = prefixes.to_owned();
        if !text.is_empty() {
            writeln!(text, "{TRAFFIC}")?;
        }
        let count = text.lines().collect::<HashSet<_>>().len() as u64;
        ensure!(self.listed()? != count, "a reload that nobody could tell");
        let file = self.feed.with_extension("new");
        std::fs::write(&file, text)?;
        std::fs::rename(file, &self.feed)?;
        let before = busy(self.sensor.id())?;
        let begun = Instant::now();
        // SAFETY: the child is not reaped before it is waited for, so the id is its own.
        unsafe { libc::kill(self.sensor.id() as libc::pid_t, libc::SIGHUP) };
        let took = until("the reload", || {
            // Answered by the thread that puts lists into force, so never in the middle of it.
            let is_in_force = self.listed().ok()? == count;
            is_in_force.then(|| begun.elapsed())
        })?;
        Ok(Took {
            trip: took.as_secs_f64(),
            busy: (busy(self.sensor.id())? - before).as_secs_f64(),
        })
    }

    fn listed(&self) -> Result<u64> {
        let status = self.ask(&Request::Status {})?;
        status["lists"]["block"].as_u64().context("no number")
    }

    /// No packet of the traffic passes any more: nothing answers it.
    fn stops_all(&self, traffic: &Generator) -> Result<()> {
        let answered = || Ok::<_, anyhow::Error>(self.lab.server.counters()?.tx_packets);
        // What was under way when the lists came into force.
        std::thread::sleep(Duration::from_millis(100));
        let (before, sent) = (answered()?, traffic.sent());
        until("more traffic", || {
            (traffic.sent() > sent + 1000).then_some(())
        })?;
        // The host speaks of itself now and then (neighbour discovery).
        let passed = answered()? - before;
        ensure!(passed < 10, "{passed} packets were answered");
        Ok(())
    }

    /// What additions and deletions take.
    fn commands(&self) -> Result<Took> {
        let mut trips = Vec::with_capacity(2 * COMMANDS);
        let before = busy(self.sensor.id())?;
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
                trips.push(begun.elapsed());
            }
        }
        let busy = busy(self.sensor.id())? - before;
        trips.sort_unstable();
        let median = trips.get(COMMANDS).context("no command")?;
        Ok(Took {
            trip: median.as_secs_f64(),
            busy: busy.as_secs_f64() / trips.len() as f64,
        })
    }

    fn finish(self) -> Result<()> {
        let error = self.sensor.sum("sensor_accounting_error_packets", &[])?;
        ensure!(error == 0.0, "accounting error {error}");
        self.sensor.stop()?;
        Ok(())
    }
}

/// Processor time that a process has had, of all its threads.
fn busy(id: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let number = text.split(' ').next().context("no schedstat")?;
        nanoseconds += number.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
