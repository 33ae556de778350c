//! The law notices what breaks it: without these, a difference of 0 would prove nothing.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::Result;
use sensor::bpf::{Grace, LoadOptions};
use sensor_tests::{root_or_skip, skip};

use super::{
    Bed,
    load::{cpus, pin},
};

/// How long to look for a race that a skipped grace period opens. It takes an interrupt between
/// a program's look at the epoch and its last store, which comes up within a second or two.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_deleted_record_makes_a_difference() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    Bed::run(LoadOptions::default(), |bed| {
        let mut load = bed.load()?;
        load.packets(1, 10)?;
        bed.plane.lose_flows();
        load.packets(2, 5)?;
        let generation = bed.plane.close_generation(&bed.clock)?;
        let differences: u64 = generation.devices.iter().map(|one| one.difference).sum();
        assert_eq!(differences, 10);

        // It stays visible for good.
        load.packets(3, 1)?;
        let generation = bed.plane.close_generation(&bed.clock)?;
        for device in &generation.devices {
            assert_eq!((device.difference, device.difference_total), (0, 10));
        }
        Ok(())
    })
}

#[test]
fn a_skipped_grace_period_makes_a_difference() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let options = LoadOptions {
        flow_table_capacity: 1024,
        grace: Grace::SkipForTest,
        ..LoadOptions::default()
    };
    Bed::run(options, |bed| {
        let stop = AtomicBool::new(false);
        let load = bed.load()?;
        let started = Instant::now();
        let found = std::thread::scope(|scope| -> Result<Option<usize>> {
            let senders: Vec<_> = (0..cpus())
                .map(|cpu| {
                    let (mut load, stop) = (load.clone(), &stop);
                    scope.spawn(move || {
                        pin(cpu);
                        while !stop.load(Ordering::Relaxed) {
                            for flow in 0..50 {
                                load.packets(flow, 100)?;
                            }
                        }
                        anyhow::Ok(())
                    })
                })
                .collect();
            let mut swaps = 0;
            let mut close = || -> Result<Option<usize>> {
                while started.elapsed() < PATIENCE {
                    let generation = bed.plane.close_generation(&bed.clock)?;
                    swaps += 1;
                    if generation.devices.iter().any(|one| one.difference > 0) {
                        return Ok(Some(swaps));
                    }
                }
                Ok(None)
            };
            let found = close();
            stop.store(true, Ordering::Relaxed);
            for sender in senders {
                sender.join().expect("a sender does not panic")?;
            }
            found
        })?;
        if found.is_none() {
            // A quiet machine interrupts nobody: that says nothing about the law.
            skip("no program was interrupted between its look at the epoch and its last store");
        }
        Ok(())
    })
}
