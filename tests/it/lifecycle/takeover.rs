//! What a killed process had counted, read, recorded or cleared is in exactly one generation.

use anyhow::Result;
use sensor::{
    bpf::{DataPlane, LoadOptions, PinError, Pinned},
    guard::GuardConfig,
};
use sensor_ebpf::abi::{Destination, DestinationKey, GuardMode, MAX_DESTINATIONS, Method};

use super::{Bed, close, is_gone, load, state::RECORDED};

#[test]
fn what_was_counted_before_and_in_between_is_read() -> Result<()> {
    Bed::run(|bed| {
        let (plane, taken) = bed.start()?;
        assert_eq!(taken, None);
        let mut load = load(&plane)?;
        let before = bed.program()?;
        load.packets(1, 300)?;
        // As after `kill -9`: nothing was closed.
        drop(plane);
        assert_eq!(bed.program()?, before, "the program stays");
        load.packets(2, 200)?;

        let (mut plane, taken) = bed.start()?;
        let taken = taken.expect("something was there");
        assert!(!taken.replaced);
        assert_eq!((taken.untold_packets, taken.lost_packets), (0, 0));
        assert_ne!(bed.program()?, before, "another program");
        assert!(bed.program()?.is_some());
        // The old program may still be running somewhere: it counts into the same maps.
        load.packets(3, 50)?;
        super::load(&plane)?.packets(3, 50)?;
        assert_eq!(close(&mut plane), 600);
        assert_eq!(close(&mut plane), 0);
        Ok(())
    })
}

#[test]
fn a_generation_that_was_flipped_away_from_comes_first() -> Result<()> {
    Bed::run(|bed| {
        let (mut plane, _) = bed.start()?;
        let mut load = load(&plane)?;
        load.packets(1, 10)?;
        assert_eq!(close(&mut plane), 10);
        plane.generation_recorded(0)?;
        load.packets(1, 20)?;
        drop(plane);
        let flipped = bed.flip()?;
        load.packets(1, 40)?;

        let (mut plane, _) = bed.start()?;
        let clock = sensor::source::live::Clock::start();
        let generation = plane.close_generation(&clock)?;
        assert_eq!(generation.drain.epoch, flipped);
        assert_eq!(super::packets(generation), 20);
        assert_eq!(close(&mut plane), 40);
        assert_eq!(close(&mut plane), 0);
        Ok(())
    })
}

#[test]
fn what_was_read_and_not_recorded_is_read_again() -> Result<()> {
    Bed::run(|bed| {
        let (mut plane, _) = bed.start()?;
        let mut load = load(&plane)?;
        load.packets(1, 20)?;
        assert_eq!(close(&mut plane), 20);
        drop(plane);
        load.packets(1, 40)?;
        let (mut plane, _) = bed.start()?;
        assert_eq!(close(&mut plane), 20);
        assert_eq!(close(&mut plane), 40);
        Ok(())
    })
}

#[test]
fn what_was_recorded_and_not_cleared_is_not_read_again() -> Result<()> {
    Bed::run(|bed| {
        let (mut plane, _) = bed.start()?;
        let mut load = load(&plane)?;
        for flow in 0..500 {
            load.packets(flow, 2)?;
        }
        assert_eq!(close(&mut plane), 1000);
        drop(plane);
        // The record was written, and then the process was killed.
        bed.set_word(RECORDED, bed.word(RECORDED)? + 1)?;
        load.packets(1, 40)?;
        let (mut plane, _) = bed.start()?;
        assert_eq!(close(&mut plane), 40);
        assert_eq!(close(&mut plane), 0);
        Ok(())
    })
}

#[test]
fn untold_packets_are_reported() -> Result<()> {
    Bed::run(|bed| {
        let (mut plane, _) = bed.start()?;
        load(&plane)?.packets(1, 20)?;
        assert_eq!(close(&mut plane), 20);
        plane.generation_recorded(7)?;
        drop(plane);
        let (_plane, taken) = bed.start()?;
        assert_eq!(taken.expect("taken over").untold_packets, 7);
        Ok(())
    })
}

#[test]
fn a_second_process_is_refused() -> Result<()> {
    Bed::run(|bed| {
        let (plane, _) = bed.start()?;
        let error = bed.plane().expect_err("somebody has it");
        assert!(error.to_string().contains("is running"), "{error}");
        let removed = Pinned::remove(&bed.folder).expect_err("somebody has it");
        assert!(matches!(removed, PinError::Busy { .. }), "{removed}");
        assert!(bed.program()?.is_some());
        drop(plane);
        Ok(())
    })
}

#[test]
fn removing_leaves_nothing_and_tells_what_is_lost() -> Result<()> {
    Bed::run(|bed| {
        let (plane, _) = bed.start()?;
        load(&plane)?.packets(1, 20)?;
        drop(plane);
        let seen = Pinned::read(&bed.folder)?.expect("pinned");
        assert_eq!(seen.devices, ["bpf0"]);
        assert_eq!(seen.unread_packets, 20);
        let removed = Pinned::remove(&bed.folder)?.expect("pinned");
        assert_eq!(
            (removed.devices, removed.unread_packets),
            (seen.devices, 20)
        );
        assert_eq!(bed.program()?, None);
        assert!(is_gone(&bed.folder));
        assert_eq!(Pinned::remove(&bed.folder)?, None);
        Ok(())
    })
}

#[test]
fn without_pinning_nothing_is_left() -> Result<()> {
    Bed::run(|bed| {
        let mut plane = DataPlane::load(LoadOptions {
            flow_table_capacity: 1024,
            ..LoadOptions::default()
        })?;
        plane.attach(super::DEVICE, sensor::bpf::AttachOptions::default())?;
        assert_eq!(plane.settle()?, None);
        drop(plane);
        sensor_tests::until("the program to go", || {
            bed.program().ok()?.is_none().then_some(())
        })?;
        assert!(is_gone(&bed.folder));
        Ok(())
    })
}

#[test]
fn a_first_start_that_fails_leaves_nothing() -> Result<()> {
    Bed::run(|bed| {
        let mut plane = bed.plane()?;
        plane.attach(super::DEVICE, sensor::bpf::AttachOptions::default())?;
        let refused = plane.attach("nope0", sensor::bpf::AttachOptions::default());
        assert!(refused.is_err());
        drop(plane);
        assert!(is_gone(&bed.folder));
        sensor_tests::until("the program to go", || {
            bed.program().ok()?.is_none().then_some(())
        })?;
        Ok(())
    })
}

#[test]
fn a_folder_with_something_else_in_it_is_refused() -> Result<()> {
    Bed::run(|bed| {
        std::fs::create_dir(&bed.folder)?;
        std::fs::create_dir(bed.folder.join("theirs"))?;
        let error = bed.plane().expect_err("not ours");
        assert!(error.to_string().contains("`theirs`"), "{error}");
        assert!(bed.folder.join("theirs").exists());
        Ok(())
    })
}

#[test]
fn defended_destinations_stay_and_keep_their_slots() -> Result<()> {
    Bed::run(|bed| {
        let destination = |port| DestinationKey {
            port,
            ..DestinationKey::default()
        };
        let cookie = Destination {
            method: Method::Cookie as u32,
            ..Destination::default()
        };
        let (mut plane, _) = bed.start()?;
        plane.guard_configure(&GuardConfig::default().settings(100), GuardMode::Mitigate)?;
        plane.guard_put(destination(80), cookie)?;
        let slot = plane.guard_put(destination(443), cookie)?;
        plane.guard_remove(&destination(80))?;
        drop(plane);
        let (mut plane, _) = bed.start()?;
        let left = Destination { slot, ..cookie };
        assert_eq!(plane.guard_destinations(), [(destination(443), left)]);
        // As many as there are slots: none is given away twice.
        for port in 1..MAX_DESTINATIONS as u16 {
            let key = destination(port + 1000);
            assert_ne!(plane.guard_put(key, cookie)?, slot);
        }
        assert!(plane.guard_put(destination(1), cookie).is_err());
        Ok(())
    })
}
