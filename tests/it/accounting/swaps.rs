//! Generations that are closed while every CPU counts.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use sensor::bpf::LoadOptions;
use sensor_tests::root_or_skip;

use super::{
    Bed, Tally,
    load::{cpus, pin},
};

const SWAPS: u64 = 150;

/// Packets that the swaps have to meet.
const LOAD: u64 = 100_000;
const FLOWS: u32 = 3000;
/// Packets of one run: short enough that swaps fall in between.
const REPEAT: u32 = 50;

#[test]
fn every_packet_is_in_exactly_one_generation() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let options = LoadOptions {
        flow_table_capacity: 8192,
        ..LoadOptions::default()
    };
    Bed::run(options, |bed| {
        let stop = AtomicBool::new(false);
        let mut tally = Tally::default();
        let load = bed.load()?;
        let sent = std::thread::scope(|scope| -> Result<HashMap<u32, u64>> {
            let senders: Vec<_> = (0..cpus())
                .map(|cpu| {
                    let (mut load, stop) = (load.clone(), &stop);
                    scope.spawn(move || {
                        pin(cpu);
                        let mut sent: HashMap<u32, u64> = HashMap::new();
                        // The same flows on all CPUs, in different orders.
                        let mut flow = cpu as u32;
                        while !stop.load(Ordering::Relaxed) {
                            flow = (flow + 7 + 4 * cpu as u32) % FLOWS;
                            load.packets(flow, REPEAT)?;
                            *sent.entry(flow).or_default() += u64::from(REPEAT);
                        }
                        anyhow::Ok(sent)
                    })
                })
                .collect();
            // Enough of both, however slow the machine is.
            let mut swap = || -> Result<()> {
                let mut epoch = 0;
                while epoch < SWAPS || tally.runs < LOAD {
                    epoch += 1;
                    let generation = bed.plane.close_generation(&bed.clock)?;
                    assert_eq!(generation.drain.epoch, epoch);
                    tally.add(generation);
                }
                Ok(())
            };
            let closed = swap();
            stop.store(true, Ordering::Relaxed);
            let mut sent = HashMap::new();
            for sender in senders {
                for (flow, packets) in sender.join().expect("a sender does not panic")? {
                    *sent.entry(flow).or_default() += packets;
                }
            }
            closed.map(|()| sent)
        })?;
        tally.add(bed.plane.close_generation(&bed.clock)?);

        let total: u64 = sent.values().sum();
        assert_eq!(tally.difference, 0);
        assert_eq!(
            (tally.runs, tally.in_flows, tally.overflow),
            (total, total, 0)
        );
        let mut counted: Vec<u64> = tally.flows.values().copied().collect();
        let mut expected: Vec<u64> = sent.into_values().collect();
        counted.sort_unstable();
        expected.sort_unstable();
        assert_eq!(counted, expected);
        Ok(())
    })
}
