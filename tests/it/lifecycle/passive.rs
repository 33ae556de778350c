//! A pinned data plane that is passive.

use anyhow::{Context as _, Result};
use sensor::bpf::{AttachOptions, DataPlane, LoadOptions, LoadedProgram, Pinned, XdpMode};
use sensor_tests::{ForeignProgram, classifiers};

use super::{Bed, DEVICE};
use crate::test_run;

/// What follows the addresses of an Ethernet frame: a datagram without payload.
const IPV4_UDP: [u8; 30] = [
    0x08, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x10, 0, 0, 9, 0,
    8, 0, 0,
];

fn plane(bed: &Bed) -> Result<DataPlane> {
    let options = LoadOptions {
        flow_table_capacity: 4096,
        ring_bytes: 64 * 1024,
        passive: true,
        ..LoadOptions::default()
    };
    let mut plane = DataPlane::load_pinned(options, &bed.folder)?;
    let attachment = plane.attach(DEVICE, AttachOptions::default())?;
    assert_eq!(attachment.mode, XdpMode::Passive);
    plane.settle()?;
    Ok(plane)
}

/// Runs the classifier as if so many packets had arrived.
fn packets(plane: &DataPlane, number: u32) -> Result<()> {
    let ifindex = plane.attachments().next().context("attached")?.ifindex;
    let mut frame = vec![2; 12];
    frame.extend(IPV4_UDP);
    let program = plane.program_fd(LoadedProgram::Ingress);
    test_run::classify(program, ifindex, &frame, number)?;
    Ok(())
}

#[test]
fn it_counts_on_and_is_taken_over() -> Result<()> {
    Bed::run(|bed| {
        let _foreign = ForeignProgram::pass(&bed.namespace, DEVICE)?;
        let expected = [["sensor_ingress"], ["sensor_egress"]];
        let first = plane(bed)?;
        packets(&first, 30)?;
        drop(first);
        assert_eq!(classifiers(&bed.namespace, DEVICE)?, expected);
        let mut plane = plane(bed)?;
        assert_eq!(classifiers(&bed.namespace, DEVICE)?, expected);
        packets(&plane, 5)?;
        assert_eq!(super::close(&mut plane), 35);
        drop(plane);
        Pinned::remove(&bed.folder)?;
        assert_eq!(classifiers(&bed.namespace, DEVICE)?, [[""; 0]; 2]);
        assert!(bed.program()?.is_some(), "the other's program stays");
        Ok(())
    })
}

#[test]
fn one_mode_takes_the_place_of_the_other() -> Result<()> {
    Bed::run(|bed| {
        drop(plane(bed)?);
        let (plane_by_xdp, _) = bed.start()?;
        assert!(bed.program()?.is_some());
        let [ingress, _] = classifiers(&bed.namespace, DEVICE)?;
        assert_eq!(ingress, [""; 0], "each packet would be counted twice");
        drop(plane_by_xdp);
        drop(plane(bed)?);
        assert_eq!(bed.program()?, None);
        let [ingress, _] = classifiers(&bed.namespace, DEVICE)?;
        assert_eq!(ingress, ["sensor_ingress"]);
        Pinned::remove(&bed.folder)?;
        Ok(())
    })
}
