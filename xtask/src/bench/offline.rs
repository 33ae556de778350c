//! `sensor read` beside ndpiReader and tshark, on the same capture, on one core, in turns.

use std::{
    fs::File,
    io,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use super::{Report, mix};
use crate::{
    build,
    command::{find, target_dir},
};

/// Each program runs so often, in turns; the best of its runs counts.
const ROUNDS: usize = 5;
/// tshark is too slow for all of the capture.
const TSHARK_PACKETS: u64 = 100_000;

/// What one run cost.
#[derive(Clone, Copy, Debug)]
struct Run {
    wall: f64,
    /// User and system time.
    cpu: f64,
    /// Peak resident set, KiB.
    rss: u64,
}

struct Contender {
    name: &'static str,
    command: fn(&Path) -> Result<Command>,
    packets: u64,
    best: Option<Run>,
}

/// Packets per second of the whole pipeline, and memory with many live flows.
pub(super) fn measure() -> Result<Report> {
    let capture = mix::path()?;
    let packets = mix::packets(&capture)?;
    build::sensor()?;
    let mut contenders = vec![
        Contender {
            name: "sensor read --json, to /dev/null",
            command: sensor,
            packets,
            best: None,
        },
        Contender {
            name: "sensor read --json, to a file",
            command: sensor_to_file,
            packets,
            best: None,
        },
    ];
    for (program, contender) in [
        (
            "ndpiReader",
            Contender {
                name: "ndpiReader -q",
                command: ndpi,
                packets,
                best: None,
            },
        ),
        (
            "tshark",
            Contender {
                name: "tshark -q -z io,phs",
                command: tshark,
                packets: TSHARK_PACKETS.min(packets),
                best: None,
            },
        ),
    ] {
        if find(program).is_some() {
            contenders.push(contender);
        } else {
            eprintln!("{program} is not installed and left out");
        }
    }
    for _ in 0..ROUNDS {
        for contender in &mut contenders {
            let run = timed((contender.command)(&capture)?)?;
            if contender.best.is_none_or(|best| run.cpu < best.cpu) {
                contender.best = Some(run);
            }
        }
    }
    let mut report = Report::new(
        "offline",
        format!("The mix of {packets} packets, one thread"),
    );
    report.condition(format!(
        "each pinned to CPU 0, in turns, best of {ROUNDS}; packets by user and system time"
    ));
    report.condition(format!(
        "tshark reads the first {TSHARK_PACKETS} packets and prints no packet"
    ));
    let rate = |contender: &Contender| contender.best.map(|run| contender.packets as f64 / run.cpu);
    let base = contenders.first().and_then(rate);
    for contender in &contenders {
        let (Some(run), Some(rate)) = (contender.best, rate(contender)) else {
            continue;
        };
        let ratio = base.map(|base| base / rate);
        report.row(contender.name, rate, "pkt/s", ratio);
        report.row(
            format!("{}: by wall clock", contender.name),
            contender.packets as f64 / run.wall,
            "pkt/s",
            None,
        );
        report.row(
            format!("{}: peak RSS", contender.name),
            run.rss as f64 / 1024.0,
            "MiB",
            None,
        );
    }
    memory(&mut report)?;
    report.condition("a ratio is sensor's rate, to /dev/null, divided by the row's");
    Ok(report)
}

/// Peak memory at 100,000 live flows, and on a capture ten times as long.
fn memory(report: &mut Report) -> Result<()> {
    let mut peaks = Vec::new();
    for seconds in [90, 900] {
        let mut maker = mix::maker()?
            .args(["live", &seconds.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let pipe = maker.stdout.take().context("a pipe was asked for")?;
        let mut command = read();
        command.arg("-").stdin(pipe);
        let run = timed(command)?;
        if !maker.wait()?.success() {
            bail!("the capture of live flows could not be made");
        }
        peaks.push(run.rss as f64 / 1024.0);
        report.row(
            format!("peak RSS, 1600 flows/s for {seconds} s"),
            run.rss as f64 / 1024.0,
            "MiB",
            peaks.first().map(|first| run.rss as f64 / 1024.0 / first),
        );
    }
    report.condition("1600 new flows a second, remembered for 60 s: about 100,000 live");
    Ok(())
}

fn pinned(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command
        .args(["-c", "0"])
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn read() -> Command {
    let mut command = pinned(target_dir().join("release/sensor"));
    command.args(["read", "--json"]);
    command
}

fn sensor(capture: &Path) -> Result<Command> {
    let mut command = read();
    command.arg(capture);
    Ok(command)
}

fn sensor_to_file(capture: &Path) -> Result<Command> {
    let mut command = sensor(capture)?;
    command.stdout(File::create(target_dir().join("mix.eve.json"))?);
    Ok(command)
}

fn ndpi(capture: &Path) -> Result<Command> {
    let mut command = pinned("ndpiReader");
    command.arg("-q").arg("-i").arg(capture);
    Ok(command)
}

fn tshark(capture: &Path) -> Result<Command> {
    let mut command = pinned("tshark");
    command
        .args(["-n", "-q", "-z", "io,phs", "-c"])
        .arg(TSHARK_PACKETS.to_string())
        .arg("-r")
        .arg(capture);
    Ok(command)
}

/// Runs a program to its end.
fn timed(mut command: Command) -> Result<Run> {
    let started = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let mut status = 0;
    // SAFETY: rusage is plain data, for which all zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals; the process is our child and not waited for
    // elsewhere, since `child` is only dropped, which does not wait.
    let waited =
        unsafe { libc::wait4(child.id().cast_signed(), &raw mut status, 0, &raw mut usage) };
    if waited < 0 {
        return Err(io::Error::last_os_error()).context("wait4");
    }
    if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 0 {
        bail!("{command:?} failed (wait status {status})");
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Run {
        wall: started.elapsed().as_secs_f64(),
        cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        rss: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    })
}
