//! Devices that are gone, renamed or not wanted any more when the next process starts.

use anyhow::Result;
use sensor::bpf::{AttachOptions, ModeOption, XdpMode};

use super::{Bed, DEVICE, close, load};

/// Names in the folder of links.
fn links(bed: &Bed) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(bed.folder.join("links"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[test]
fn a_device_that_vanished_leaves_no_pin_and_its_last_packets_count() -> Result<()> {
    Bed::run(|bed| {
        let (plane, _) = bed.start()?;
        load(&plane)?.packets(1, 30)?;
        drop(plane);
        bed.namespace.ip(&format!("link del {DEVICE}"))?;
        bed.namespace
            .ip("link add other0 type veth peer name other1")?;
        let mut plane = bed.plane()?;
        let other = plane.attach("other0", AttachOptions::default())?;
        plane.settle()?;
        assert_eq!(
            links(bed)?,
            [
                format!("tcx-{}", other.ifindex),
                format!("xdp-{}", other.ifindex)
            ]
        );
        assert_eq!(close(&mut plane), 30);
        assert_eq!(close(&mut plane), 0);
        Ok(())
    })
}

#[test]
fn a_device_that_came_back_is_attached_anew() -> Result<()> {
    Bed::run(|bed| {
        let (plane, _) = bed.start()?;
        load(&plane)?.packets(1, 30)?;
        drop(plane);
        bed.namespace.ip(&format!("link del {DEVICE}"))?;
        bed.namespace
            .ip(&format!("link add {DEVICE} type veth peer name bpf1"))?;
        let (mut plane, _) = bed.start()?;
        load(&plane)?.packets(1, 5)?;
        // Both indices are the one device's.
        assert_eq!(close(&mut plane), 35);
        Ok(())
    })
}

#[test]
fn a_renamed_device_keeps_its_link() -> Result<()> {
    Bed::run(|bed| {
        let (plane, _) = bed.start()?;
        load(&plane)?.packets(1, 30)?;
        drop(plane);
        bed.namespace.ip(&format!("link set {DEVICE} down"))?;
        bed.namespace.ip(&format!("link set {DEVICE} name wan0"))?;
        let mut plane = bed.plane()?;
        plane.attach("wan0", AttachOptions::default())?;
        plane.settle()?;
        load(&plane)?.packets(1, 5)?;
        let generation = plane.close_generation(&sensor::source::live::Clock::start())?;
        assert!(
            generation
                .devices
                .iter()
                .all(|device| device.device == "wan0")
        );
        assert_eq!(super::packets(generation), 35);
        Ok(())
    })
}

#[test]
fn a_device_that_is_not_wanted_any_more_is_let_go() -> Result<()> {
    Bed::run(|bed| {
        bed.namespace
            .ip("link add other0 type veth peer name other1")?;
        let mut plane = bed.plane()?;
        plane.attach(DEVICE, AttachOptions::default())?;
        plane.attach("other0", AttachOptions::default())?;
        plane.settle()?;
        load(&plane)?.packets(1, 30)?;
        drop(plane);
        let mut plane = bed.plane()?;
        plane.attach("other0", AttachOptions::default())?;
        assert!(bed.program()?.is_some(), "until everything is attached");
        plane.settle()?;
        assert_eq!(bed.program()?, None);
        assert_eq!(links(bed)?.len(), 2);
        assert_eq!(close(&mut plane), 30);
        Ok(())
    })
}

#[test]
fn detaching_removes_the_pins() -> Result<()> {
    Bed::run(|bed| {
        let (mut plane, _) = bed.start()?;
        assert_eq!(links(bed)?.len(), 2);
        assert!(plane.detach(DEVICE));
        assert_eq!(bed.program()?, None);
        assert!(links(bed)?.is_empty());
        Ok(())
    })
}

#[test]
fn a_link_in_another_mode_is_replaced() -> Result<()> {
    Bed::run(|bed| {
        let (plane, _) = bed.start()?;
        assert_eq!(
            plane.attachments().next().map(|one| one.mode),
            Some(XdpMode::Native)
        );
        drop(plane);
        let mut plane = bed.plane()?;
        let options = AttachOptions {
            mode: ModeOption::Generic,
            ..AttachOptions::default()
        };
        let attachment = plane.attach(DEVICE, options)?;
        assert_eq!(attachment.mode, XdpMode::Generic);
        plane.settle()?;
        drop(plane);
        // Whatever mode there is serves one who asks for none.
        let (plane, _) = bed.start()?;
        assert_eq!(
            plane.attachments().next().map(|one| one.mode),
            Some(XdpMode::Generic)
        );
        Ok(())
    })
}
