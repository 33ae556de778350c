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

const SWAPS: usize = 150;
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
            let closed = (0..SWAPS).try_for_each(|swap| {
                let generation = bed.plane.close_generation(&bed.clock)?;
                assert_eq!(generation.drain.epoch, swap as u64 + 1);
                tally.add(generation);
                anyhow::Ok(())
            });
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
        assert!(total > 100_000, "the load did not run: {total} packets");
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
