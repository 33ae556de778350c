//! `sensor-lab bench`: the sensor in `--tap` mode beside a bare XDP_DROP, through the same veth
//! and with the same saturating generator.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sensor_tests::{
    ForeignProgram, Generator, Lab, LabOptions, Sensor, SensorOptions, StreamSpec, scratch,
    tcp_flag,
};
use serde_json::Value;

use crate::figures::{Figures, Row};

/// Flows of a normal run.
const FLOWS: u32 = 1 << 16;

/// Flows that overflow a table of [`SMALL_TABLE`].
const MANY_FLOWS: u32 = 1 << 22;

const SMALL_TABLE: u32 = 1 << 16;

/// Packets of each flow that the sensor samples by default.
const FIRST_PACKETS: u32 = 16;

/// What one run took in.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    /// Packets that reached the device's program for each second of processor time.
    rate: f64,
    /// Sum of absolute differences of the law of accounting.
    accounting_error: f64,
    /// Packets by which the sensor's count differs from the kernel's own.
    difference: f64,
    /// Flows that no event told of.
    missing: f64,
    /// Resident memory before and after, bytes.
    memory: [f64; 2],
}

/// Measures and writes the figures to stdout as JSON.
///
/// # Errors
/// If the lab or the sensor fails; not if figures are bad.
pub(crate) fn run(binary: &Path, seconds: u64, rounds: u32) -> Result<()> {
    let lab = Lab::new(LabOptions::default())?;
    let length = Duration::from_secs(seconds);
    let mut bare: f64 = 0.0;
    let mut reference: f64 = 0.0;
    let mut normal: Vec<Run> = Vec::new();
    let mut overflow: Vec<Run> = Vec::new();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        let (server, device) = (&lab.server.namespace, lab.server.device);
        bare = bare.max(beside(
            &lab,
            length,
            ForeignProgram::drop_all(server, device)?,
        )?);
        let program = ForeignProgram::count_and_drop(server, device)?;
        reference = reference.max(beside(&lab, length, program)?);
        normal.push(tap(&lab, binary, length, FLOWS, FLOWS * 4)?);
        overflow.push(tap(&lab, binary, length, MANY_FLOWS, SMALL_TABLE)?);
    }
    let best = |runs: &[Run]| runs.iter().map(|run| run.rate).fold(0.0, f64::max);
    // A fault in any round counts.
    let worst = |runs: &[Run], of: fn(&Run) -> f64| runs.iter().map(of).fold(0.0, f64::max);
    let (taken, strained) = (best(&normal), best(&overflow));
    let growth = worst(&overflow, |run| run.memory[1] - run.memory[0]);
    let cost = |rate: f64| 1e9 / rate;
    let row = |name, value, unit, ratio| Row {
        name,
        value,
        unit,
        ratio,
    };
    let figures = Figures {
        conditions: vec![
            "64-byte frames (with FCS), generator straight into the protected device's queue"
                .to_owned(),
            "the receive path (NAPI) runs on the generator's core, which makes the frames too"
                .to_owned(),
            "a second is one of that core's processor time, so that other load counts less"
                .to_owned(),
            "65,536 flows: after 16 packets of each, of which the sensor samples the first"
                .to_owned(),
            format!("best rate of {rounds} interleaved runs of {seconds} s; faults: the worst run"),
        ],
        rows: vec![
            row("bare XDP_DROP", bare, "packets/s", None),
            row(
                "one hash table, two additions",
                reference,
                "packets/s",
                Some(reference / bare),
            ),
            row(
                "  cost beyond XDP_DROP",
                cost(reference) - cost(bare),
                "ns/packet",
                None,
            ),
            row(
                "sensor --tap, 65,536 flows",
                taken,
                "packets/s",
                Some(taken / bare),
            ),
            row(
                "  cost beyond XDP_DROP",
                cost(taken) - cost(bare),
                "ns/packet",
                None,
            ),
            row(
                "  accounting error",
                worst(&normal, |run| run.accounting_error),
                "packets",
                None,
            ),
            row(
                "  off the kernel's count",
                worst(&normal, |run| run.difference),
                "packets",
                None,
            ),
            row(
                "  flows without an event",
                worst(&normal, |run| run.missing),
                "flows",
                None,
            ),
            row(
                "4 M flows, table of 65,536",
                strained,
                "packets/s",
                Some(strained / taken),
            ),
            row(
                "  cost beyond XDP_DROP",
                cost(strained) - cost(bare),
                "ns/packet",
                Some((cost(strained) - cost(bare)) / (cost(taken) - cost(bare))),
            ),
            row(
                "  accounting error",
                worst(&overflow, |run| run.accounting_error),
                "packets",
                None,
            ),
            row(
                "  off the kernel's count",
                worst(&overflow, |run| run.difference),
                "packets",
                None,
            ),
            row("  growth of resident memory", growth / 1e6, "MB", None),
        ],
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &figures)?;
    writeln!(out)?;
    Ok(())
}

fn stream(lab: &Lab, flows: u32) -> StreamSpec {
    StreamSpec {
        tcp_flags: tcp_flag::ACK,
        flows,
        scatter: false,
        ..StreamSpec::syns((lab.server.ipv4(0), 80).into(), lab.server.mac())
    }
}

/// Sends for a while; returns how many packets arrived for each second that the core worked.
fn send(lab: &Lab, length: Duration, flows: u32) -> Result<f64> {
    let before = lab.server.counters()?;
    let generator = Generator::start(&lab.wire, "ws", &stream(lab, flows))?;
    std::thread::sleep(length);
    let sent = generator.stop()?;
    let got = lab.server.counters()?.since(before);
    Ok(got.rx_packets as f64 / sent.busy.as_secs_f64())
}

/// What a program takes that needs no daemon; it ends afterwards.
fn beside(lab: &Lab, length: Duration, _program: ForeignProgram) -> Result<f64> {
    send(lab, length, FLOWS)
}

fn tap(lab: &Lab, binary: &Path, length: Duration, flows: u32, capacity: u32) -> Result<Run> {
    let directory = scratch()?;
    let config = directory.path().join("sensor.toml");
    std::fs::write(&config, format!("[flows]\ncapacity = {capacity}\n"))?;
    let path = config.to_str().context("a path that is not UTF-8")?;
    let all_fit = flows <= capacity;
    let options = SensorOptions {
        binary: Some(binary.into()),
        discard_events: !all_fit,
        args: ["--tap", "--force", "-c", path].map(str::to_owned).into(),
        ..SensorOptions::default()
    };
    let before = lab.server.counters()?;
    let sensor = Sensor::start(&lab.server, &options)?;
    let memory = resident(sensor.id())?;
    if all_fit {
        // Until the flows are past their first packets, which are sampled.
        Generator::send(&lab.wire, "ws", &stream(lab, flows), flows * FIRST_PACKETS)?;
    }
    let rate = send(lab, length, flows)?;
    let error = sensor.sum("sensor_accounting_error_packets", &[])?;
    let counted = sensor.sum("sensor_packets_total", &["direction=\"ingress\""])?;
    let got = lab.server.counters()?.since(before).rx_packets as f64;
    let memory = [memory, resident(sensor.id())?];
    let ended = sensor.stop()?;
    ensure!(
        ended.status.success(),
        "the sensor failed:\n{}",
        ended.messages
    );
    Ok(Run {
        rate,
        accounting_error: error,
        difference: (counted - got).abs(),
        missing: if all_fit {
            f64::from(flows) - distinct_flows(&ended.events)
        } else {
            0.0
        },
        memory,
    })
}

/// Generated flows that at least one event tells of.
fn distinct_flows(events: &[Value]) -> f64 {
    let flows: HashSet<_> = events
        .iter()
        .filter(|event| event["event_type"] == "flow")
        .filter_map(|event| {
            let end = |address: &str, port: &str| {
                let address = event[address].as_str()?;
                let invented = address.starts_with("198.18.") || address.starts_with("198.19.");
                invented.then(|| (address, event[port].as_u64()))
            };
            end("src_ip", "src_port").or_else(|| end("dest_ip", "dest_port"))
        })
        .collect();
    flows.len() as f64
}

/// Resident memory of a process, bytes.
fn resident(id: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let kilobytes: f64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .context("no VmRSS in the process's status")?;
    Ok(kilobytes * 1024.0)
}
