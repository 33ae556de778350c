//! The parser in the kernel against the very same in user space, frame by frame.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sensor::core::frame::LinkType;
use sensor::source::capture::Reader;
use sensor_ebpf::abi::{Direction, FlowKey};
use sensor_ebpf::parse::{self, Origin, Unkeyed};

use super::frames::{arp, extended, tagged, tcp, udp};
use super::programs::{LOOPBACK, Programs, Setup, loaded};

/// What `BPF_PROG_TEST_RUN` takes: a whole Ethernet header, and no more than 64 KiB in buffers.
const LENGTHS: std::ops::RangeInclusive<usize> = 14..=60_000;

/// More flows than the captures have.
const FLOWS: u32 = 1 << 17;

/// Packets, bytes, TCP flags.
type Counts = (u64, u64, u64);

/// The programs, and what they should have counted.
struct Twins {
    programs: Programs,
    frames: u64,
    flows: HashMap<FlowKey, Counts>,
    non_ip: u64,
    unparsed: [u64; 6],
}

impl Twins {
    fn new() -> Result<Option<Self>> {
        let setup = Setup {
            flows: FLOWS,
            ..Setup::default()
        };
        Ok(loaded(setup)?.map(|programs| Self {
            programs,
            frames: 0,
            flows: HashMap::new(),
            non_ip: 0,
            unparsed: [0; 6],
        }))
    }

    /// Shows a frame to both, and compares what the kernel has counted for it.
    fn feed(&mut self, frame: &[u8]) -> Result<()> {
        self.programs.receive(frame)?;
        self.frames += 1;
        let origin = Origin {
            ifindex: LOOPBACK,
            direction: Direction::Ingress,
            vlan: None,
        };
        match parse::ethernet(frame, origin) {
            Ok((key, headers)) => {
                let counts = self.flows.entry(key).or_default();
                counts.0 += 1;
                counts.1 += frame.len() as u64;
                counts.2 |= u64::from(headers.tcp_flags);
                let entry = self.programs.flow(1, &key)?;
                let found = entry.map(|entry| (entry.packets, entry.bytes, entry.tcp_flags));
                ensure!(found == Some(*counts), "{key:?}: {found:?}, not {counts:?}");
            }
            Err(unkeyed) => {
                match unkeyed {
                    Unkeyed::NonIp => self.non_ip += 1,
                    Unkeyed::Unparsed(reason) => self.unparsed[reason as usize] += 1,
                }
                let totals = self.programs.totals(1, 1, Direction::Ingress)?;
                let found = (totals.non_ip, totals.unparsed);
                ensure!(
                    found == (self.non_ip, self.unparsed),
                    "{unkeyed:?}: {found:?}, not {:?}",
                    (self.non_ip, self.unparsed)
                );
            }
        }
        Ok(())
    }

    /// Compares everything, also what no frame asked for.
    fn finish(&self) -> Result<()> {
        let totals = self.programs.balanced(1, Direction::Ingress)?;
        ensure!(
            totals.runs == self.frames && totals.overflow == [0; 6],
            "{totals:?}"
        );
        ensure!((totals.non_ip, totals.unparsed) == (self.non_ip, self.unparsed));
        let found: HashMap<_, Counts> = self
            .programs
            .flows(1)?
            .into_iter()
            .map(|(key, entry)| (key, (entry.packets, entry.bytes, entry.tcp_flags)))
            .collect();
        ensure!(found == self.flows, "the flows are others");
        Ok(())
    }
}

/// Ethernet frames of one capture, as far as it can be read.
fn frames_of(path: &Path) -> Vec<Vec<u8>> {
    let Ok(reader) = Reader::open(path) else {
        return Vec::new();
    };
    reader
        .map_while(Result::ok)
        .filter(|frame| frame.link == LinkType::Ethernet && LENGTHS.contains(&frame.data.len()))
        .map(|frame| frame.data.to_vec())
        .collect()
}

fn golden() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("it/golden/captures"),
        &mut files,
    )?;
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[test]
fn both_parsers_count_every_capture_alike() -> Result<()> {
    let Some(mut twins) = Twins::new()? else {
        return Ok(());
    };
    let mut files = golden()?;
    if let Some(folder) = std::env::var_os("SENSOR_CASES") {
        collect(Path::new(&folder), &mut files)?;
    }
    files.sort();
    for file in &files {
        for (at, frame) in frames_of(file).iter().enumerate() {
            twins
                .feed(frame)
                .with_context(|| format!("frame {} of {}", at + 1, file.display()))?;
        }
    }
    if twins.frames == 0 {
        bail!("no capture has frames");
    }
    twins.finish()?;
    eprintln!(
        "{} frames of {} flows, {} not IP, not parsed: {:?}",
        twins.frames,
        twins.flows.len(),
        twins.non_ip,
        twins.unparsed
    );
    Ok(())
}

/// Frames with tags and extension headers, some bytes changed, cut anywhere.
fn mutated(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let tag = (
        proptest::sample::select(vec![0x8100, 0x88a8, 0x9100]),
        any::<u16>(),
    );
    let kind = proptest::sample::select(vec![0_u8, 43, 44, 51, 60, 59]);
    let chain = proptest::collection::vec(kind, 0..8).prop_map(|kinds| extended(&kinds));
    let seed = prop_oneof![proptest::sample::select(seeds), chain];
    let change = (any::<proptest::sample::Index>(), any::<u8>());
    let changes = proptest::collection::vec(change, 0..4);
    let tags = proptest::collection::vec(tag, 0..6);
    let cut = proptest::option::of(any::<proptest::sample::Index>());
    (seed, tags, changes, cut).prop_map(|(seed, tags, changes, cut)| {
        let mut frame = tagged(&seed, &tags);
        // Headers are where a change matters.
        let headers = frame.len().min(120);
        for (at, byte) in changes {
            frame[at.index(headers)] = byte;
        }
        if let Some(cut) = cut {
            frame.truncate(14 + cut.index(headers));
        }
        frame
    })
}

#[test]
fn both_parsers_count_broken_frames_alike() -> Result<()> {
    let Some(twins) = Twins::new()? else {
        return Ok(());
    };
    let mut seeds = vec![arp(), tcp(0x12), udp((1, 2), 30)];
    for file in golden()? {
        seeds.extend(frames_of(&file).into_iter().take(20));
    }
    let twins = RefCell::new(twins);
    let config = Config {
        cases: 20_000,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config).run(&mutated(seeds), |frame| {
        // Shrinking may cut below what the kernel takes.
        prop_assume!(LENGTHS.contains(&frame.len()));
        let fed = twins.borrow_mut().feed(&frame);
        prop_assert!(fed.is_ok(), "{fed:?} for {frame:02x?}");
        Ok(())
    })?;
    let twins = twins.into_inner();
    twins.finish()?;
    let gave_up = twins.unparsed.iter().filter(|count| **count > 0).count();
    assert!(gave_up >= 5 && twins.non_ip > 0 && twins.flows.len() > 1000);
    Ok(())
}
