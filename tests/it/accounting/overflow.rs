//! Far more flows than the table holds.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use sensor::bpf::LoadOptions;
use sensor_ebpf::abi::TableSize;
use sensor_tests::root_or_skip;

use super::{
    Bed, Tally,
    load::{cpus, pin},
};

const FLOWS: u32 = 4_000_000;
const CAPACITY: u32 = 65_536;
/// Flows that one sender takes at a time.
const SHARE: u32 = 1000;
/// How much the process may grow once it has closed a full generation, in KiB.
const GROWTH: u64 = 1024;

#[test]
fn four_million_flows_overflow_without_loss_or_growth() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let options = LoadOptions {
        flow_table_capacity: CAPACITY,
        ..LoadOptions::default()
    };
    Bed::run(options, |bed| {
        let next = AtomicU32::new(0);
        let load = bed.load()?;
        let mut full = 0;
        let mut warm = None;
        let mut totals = (0, 0, 0, 0);
        std::thread::scope(|scope| -> Result<()> {
            let senders: Vec<_> = (0..cpus())
                .map(|cpu| {
                    let (mut load, next) = (load.clone(), &next);
                    scope.spawn(move || {
                        pin(cpu);
                        loop {
                            let first = next.fetch_add(SHARE, Ordering::Relaxed);
                            if first >= FLOWS {
                                return anyhow::Ok(());
                            }
                            for flow in first..first + SHARE {
                                load.packets(flow, 1)?;
                            }
                        }
                    })
                })
                .collect();
            let mut close = || -> Result<()> {
                let generation = bed.plane.close_generation(&bed.clock)?;
                let entries = u64::from(generation.flow_entries);
                assert!(entries <= TableSize::of(CAPACITY).room());
                let lost = generation.devices.iter();
                let is_full = lost.flat_map(|one| one.totals.overflow).sum::<u64>() > 0;
                if is_full {
                    assert!(generation.crowded);
                    assert!(entries >= u64::from(CAPACITY), "full with {entries} flows");
                    full += 1;
                }
                for device in &generation.devices {
                    totals.0 += device.totals.runs;
                    totals.1 += device.flows.packets.iter().sum::<u64>();
                    totals.2 += device.totals.overflow.iter().sum::<u64>();
                    totals.3 += device.difference;
                }
                if is_full && warm.is_none() {
                    warm = Some(resident_kib()?);
                }
                Ok(())
            };
            while senders.iter().any(|sender| !sender.is_finished()) {
                std::thread::sleep(std::time::Duration::from_millis(1500));
                close()?;
            }
            for sender in senders {
                sender.join().expect("a sender does not panic")?;
            }
            close()
        })?;

        let (runs, in_flows, overflow, difference) = totals;
        assert_eq!(difference, 0);
        assert_eq!(runs, u64::from(FLOWS));
        assert_eq!(in_flows + overflow, u64::from(FLOWS));
        assert!(overflow > 0 && full > 0, "the table never filled up");
        let warm = warm.context("no full generation was measured")?;
        let now = resident_kib()?;
        assert!(now <= warm + GROWTH, "{warm} KiB grew to {now} KiB");
        Ok(())
    })
}

#[test]
fn a_full_table_counts_every_packet_of_its_own_flows() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let options = LoadOptions {
        flow_table_capacity: 64,
        ..LoadOptions::default()
    };
    let room = TableSize::of(64).room();
    let flows = 4 * room;
    Bed::run(options, |bed| {
        let mut load = bed.load()?;
        for round in 0..3_u32 {
            let packets = 3 + round;
            for flow in 0..flows {
                load.packets(flow as u32, packets)?;
            }
            let mut tally = Tally::default();
            let generation = bed.plane.close_generation(&bed.clock)?;
            tally.add(generation);
            let entries = u64::from(generation.flow_entries);
            assert!(
                (64..=room).contains(&entries),
                "room again in every generation"
            );
            assert_eq!(tally.difference, 0);
            assert!(
                tally
                    .flows
                    .values()
                    .all(|counted| *counted == u64::from(packets))
            );
            assert_eq!(tally.in_flows, entries * u64::from(packets));
            assert_eq!(tally.overflow, (flows - entries) * u64::from(packets));
        }
        Ok(())
    })
}

#[test]
fn as_many_flows_fit_as_the_table_was_made_for() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    for capacity in [64, 1024, 65_536] {
        let options = LoadOptions {
            flow_table_capacity: capacity,
            ..LoadOptions::default()
        };
        Bed::run(options, |bed| {
            let mut load = bed.load()?;
            for flow in 0..capacity {
                load.packets(flow, 1)?;
            }
            let mut tally = Tally::default();
            tally.add(bed.plane.close_generation(&bed.clock)?);
            assert_eq!((tally.difference, tally.overflow), (0, 0), "{capacity}");
            assert_eq!(tally.flows.len(), capacity as usize);
            Ok(())
        })?;
    }
    Ok(())
}

/// Resident memory of this process.
fn resident_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
