//! Other sizes, other layouts: maps are replaced under the running links.

use std::fs;

use anyhow::Result;
use aya::maps::MapData;
use sensor::{
    bpf::{AttachOptions, DataPlane},
    guard::GuardConfig,
};
use sensor_ebpf::abi::{Destination, DestinationKey, GuardMode, Method, Settings, map, mode};

use super::{Bed, DEVICE, close, load};

#[test]
fn other_sizes_are_read_to_the_end_and_replaced() -> Result<()> {
    Bed::run(|bed| {
        let (plane, _) = bed.start()?;
        let mut old = load(&plane)?;
        old.packets(1, 300)?;
        drop(plane);
        bed.flip()?;
        old.packets(1, 200)?;
        let before = bed.state()?;

        let mut plane = bed.plane_of(8192)?;
        plane.attach(DEVICE, AttachOptions::default())?;
        let taken = plane.settle()?.expect("taken over");
        assert!(taken.replaced);
        assert_eq!(taken.lost_packets, 0);
        // What the old program counted to its last run, and the new one from its first.
        load(&plane)?.packets(2, 50)?;
        assert_eq!(close(&mut plane), 300);
        assert_eq!(close(&mut plane), 200);
        assert_eq!(close(&mut plane), 50);
        assert_eq!(close(&mut plane), 0);
        assert_ne!(bed.state()?, before, "the old maps are gone");
        drop(plane);
        // From now on the new sizes are what is taken over.
        let mut plane = bed.plane_of(8192)?;
        plane.attach(DEVICE, AttachOptions::default())?;
        assert!(!plane.settle()?.expect("taken over").replaced);
        Ok(())
    })
}

#[test]
fn numbers_of_generations_go_on_over_a_replacement() -> Result<()> {
    Bed::run(|bed| {
        let (plane, _) = bed.start()?;
        drop(plane);
        let last = bed.flip()? + 1;
        let mut plane = bed.plane_of(8192)?;
        plane.attach(DEVICE, AttachOptions::default())?;
        plane.settle()?;
        let clock = sensor::source::live::Clock::start();
        let mut epochs = Vec::new();
        for _ in 0..4 {
            epochs.push(plane.close_generation(&clock)?.drain.epoch);
        }
        assert_eq!(epochs[..2], [last - 1, last]);
        assert!(epochs.is_sorted_by(|one, next| one < next), "{epochs:?}");
        Ok(())
    })
}

#[test]
fn untold_packets_are_reported_once_over_starts_that_fail() -> Result<()> {
    Bed::run(|bed| {
        let (mut plane, _) = bed.start()?;
        load(&plane)?.packets(1, 20)?;
        assert_eq!(close(&mut plane), 20);
        plane.generation_recorded(7)?;
        drop(plane);
        bed.fail(8192)?;
        for untold in [7, 0] {
            let mut plane = bed.plane_of(8192)?;
            plane.attach(DEVICE, AttachOptions::default())?;
            let taken = plane.settle()?.expect("taken over");
            assert_eq!(taken.untold_packets, untold);
            assert!(taken.replaced, "nothing of the old one was read yet");
        }
        Ok(())
    })
}

#[test]
fn records_of_another_version_are_lost_by_number() -> Result<()> {
    Bed::run(|bed| {
        let (plane, _) = bed.start()?;
        let mut old = load(&plane)?;
        old.packets(1, 300)?;
        drop(plane);
        bed.flip()?;
        old.packets(1, 200)?;
        let before = bed.program()?;
        let state = bed.of_another_version()?;

        let (mut plane, taken) = bed.start()?;
        let taken = taken.expect("taken over");
        assert!(taken.replaced);
        assert_eq!(taken.lost_packets, 500);
        assert_ne!(bed.program()?, before);
        load(&plane)?.packets(2, 50)?;
        assert_eq!(close(&mut plane), 50);
        assert!(bed.state()?.ends_with(state.file_name().expect("a name")));
        Ok(())
    })
}

#[test]
fn what_is_defended_stays_so_over_a_replacement() -> Result<()> {
    Bed::run(|bed| {
        let key = |port| DestinationKey {
            port,
            ..DestinationKey::default()
        };
        let method = |method| Destination {
            method: method as u32,
            ..Destination::default()
        };
        let (mut plane, _) = bed.start()?;
        plane.guard_configure(&GuardConfig::default().settings(100), GuardMode::Mitigate)?;
        plane.guard_put(key(80), method(Method::Cookie))?;
        plane.guard_put(key(443), method(Method::Retransmission))?;
        drop(plane);
        bed.fail(8192)?;
        let plane = bed.plane_of(8192)?;
        assert_eq!(plane.guard_mode(), GuardMode::Mitigate as u32);
        let mut held: Vec<_> = plane
            .guard_destinations()
            .iter()
            .map(|(key, destination)| (key.port, destination.method))
            .collect();
        held.sort_unstable();
        let cookie = (80, Method::Cookie as u32);
        assert_eq!(held, [cookie, (443, Method::Retransmission as u32)]);
        Ok(())
    })
}

/// Every packet is sampled.
fn full() -> Settings {
    Settings {
        mode: mode::SAMPLE_FULL,
        budget: [1000; 5],
        ..Settings::default()
    }
}

/// Takes all that waits in the rings: records, and those of them that could not be read.
fn samples(plane: &mut DataPlane) -> (usize, usize) {
    let (mut records, mut malformed) = (0, 0);
    loop {
        let polled = plane.poll_samples(7, |_, _| {});
        records += polled.records;
        malformed += polled.malformed;
        if !polled.more {
            return (records, malformed);
        }
    }
}

#[test]
fn samples_that_waited_in_replaced_rings_are_read() -> Result<()> {
    Bed::run(|bed| {
        let (mut plane, _) = bed.start()?;
        plane.apply(&full())?;
        let mut old = load(&plane)?;
        old.packets(1, 30)?;
        drop(plane);
        old.packets(2, 20)?;

        let mut plane = bed.plane_of(8192)?;
        plane.apply(&full())?;
        plane.attach(DEVICE, AttachOptions::default())?;
        plane.settle()?;
        let rings = plane.ring_fds().count();
        // The old program may still be running somewhere.
        old.packets(3, 5)?;
        load(&plane)?.packets(4, 10)?;
        assert_eq!(samples(&mut plane), (65, 0));
        assert_eq!((close(&mut plane), close(&mut plane)), (55, 10));
        plane.generation_recorded(0)?;
        assert_eq!(samples(&mut plane), (0, 0));
        assert_eq!(plane.ring_fds().count(), rings / 2, "the old ones are gone");
        load(&plane)?.packets(4, 10)?;
        assert_eq!(samples(&mut plane), (10, 0));
        Ok(())
    })
}

#[test]
fn a_ring_that_cannot_be_read_is_counted_and_in_nobodys_way() -> Result<()> {
    Bed::run(|bed| {
        let (mut plane, _) = bed.start()?;
        plane.apply(&full())?;
        load(&plane)?.packets(1, 30)?;
        drop(plane);
        let state = bed.state()?;
        // More than one, so that they come before and after those that can be read.
        for cpu in 900..910 {
            let other = MapData::from_pin(state.join(map::EPOCH))?;
            other.pin(state.join(format!("RING_{cpu}")))?;
        }
        let mut plane = bed.plane_of(8192)?;
        plane.attach(DEVICE, AttachOptions::default())?;
        let taken = plane.settle()?.expect("taken over");
        assert_eq!(samples(&mut plane), (30, 0));
        assert_eq!(taken.lost_rings, 10);
        Ok(())
    })
}

#[test]
fn samples_of_another_version_are_counted() -> Result<()> {
    Bed::run(|bed| {
        let (mut plane, _) = bed.start()?;
        plane.apply(&full())?;
        load(&plane)?.packets(1, 30)?;
        drop(plane);
        bed.of_another_version()?;
        let (mut plane, _) = bed.start()?;
        assert_eq!(samples(&mut plane), (30, 30));
        Ok(())
    })
}

#[test]
fn an_unfinished_state_is_begun_anew() -> Result<()> {
    Bed::run(|bed| {
        let (plane, _) = bed.start()?;
        let mut old = load(&plane)?;
        old.packets(1, 300)?;
        drop(plane);
        // The last thing that a start makes, and the first that a removal takes away.
        fs::remove_file(bed.state()?.join("META"))?;
        let (mut plane, taken) = bed.start()?;
        assert_eq!(taken, None);
        load(&plane)?.packets(2, 50)?;
        assert_eq!(close(&mut plane), 50);
        Ok(())
    })
}

#[test]
fn a_start_that_fails_over_an_unfinished_state_leaves_what_runs() -> Result<()> {
    Bed::run(|bed| {
        let (plane, _) = bed.start()?;
        drop(plane);
        let before = bed.program()?;
        assert!(before.is_some());
        fs::remove_file(bed.state()?.join("META"))?;
        bed.fail(4096)?;
        assert_eq!(bed.program()?, before);
        // Nor is it in the way of one that succeeds.
        let (plane, _) = bed.start()?;
        assert_ne!(bed.program()?, before);
        drop(plane);
        Ok(())
    })
}
