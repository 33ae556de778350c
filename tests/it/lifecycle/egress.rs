//! How sent packets are counted from one process to the next.

use std::{
    net::{IpAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Result;
use sensor::{
    bpf::{AttachOptions, DataPlane, Egress, EgressOption, LoadOptions, Pinned},
    source::live::Clock,
};
use sensor_ebpf::abi::Direction;
use sensor_tests::{BpfFs, Lab, LabOptions, root_or_skip, tcx_or_skip, until};

use super::{Bed, DEVICE};

#[test]
fn a_clsact_filter_stays_is_replaced_and_goes() -> Result<()> {
    Bed::run(|bed| {
        let filters = || -> Result<usize> {
            let output = bed
                .namespace
                .command("tc")
                .args(["filter", "show", "dev", DEVICE, "egress"])
                .output()?;
            let text = String::from_utf8(output.stdout)?;
            Ok(text.matches("sensor_egress").count())
        };
        let options = AttachOptions {
            egress: EgressOption::Clsact,
            ..AttachOptions::default()
        };
        let start = |options| -> Result<()> {
            let mut plane = bed.plane()?;
            let attachment = plane.attach(DEVICE, options)?;
            let is_clsact = attachment.egress == Egress::Clsact;
            assert_eq!(is_clsact, options.egress == EgressOption::Clsact);
            plane.settle()?;
            Ok(())
        };
        let off = AttachOptions {
            egress: EgressOption::Off,
            ..AttachOptions::default()
        };
        for (options, remain) in [
            (options, true),
            (options, true),
            (off, false),
            (options, true),
        ] {
            start(options)?;
            assert_eq!(filters()? > 0, remain, "{options:?}");
        }
        Pinned::remove(&bed.folder)?;
        assert_eq!(filters()?, 0);
        Ok(())
    })
}

/// Packets in the generation that this closes.
fn sent(plane: &mut DataPlane) -> Result<u64> {
    let generation = plane.close_generation(&Clock::start())?;
    let mut packets = 0;
    for device in &generation.devices {
        assert_eq!(device.difference, 0, "{device:?}");
        if device.direction == Direction::Egress {
            packets += device.totals.runs;
        }
    }
    plane.generation_recorded(0)?;
    Ok(packets)
}

#[test]
fn no_packet_is_counted_twice_where_a_filter_gives_way_to_tcx() -> Result<()> {
    if !root_or_skip() || !tcx_or_skip() {
        return Ok(());
    }
    let lab = Lab::new(LabOptions::default())?;
    // The way back takes the link off before the filter comes: what is missed there would hide
    // what is counted twice.
    for _ in 0..2 {
        gives_way(&lab)?;
    }
    Ok(())
}

fn gives_way(lab: &Lab) -> Result<()> {
    const PACKETS: u64 = 2000;
    let file_system = BpfFs::mount()?;
    let folder = file_system.folder();
    let start = |egress| -> Result<DataPlane> {
        let options = LoadOptions {
            flow_table_capacity: 4096,
            ring_bytes: 64 * 1024,
            ..LoadOptions::default()
        };
        let mut plane = DataPlane::load_pinned(options, &folder)?;
        let options = AttachOptions {
            egress,
            ..AttachOptions::default()
        };
        let attachment = plane.attach("s0", options)?;
        let is_clsact = attachment.egress == Egress::Clsact;
        assert_eq!(is_clsact, egress == EgressOption::Clsact);
        plane.settle()?;
        Ok(plane)
    };
    let is_over = AtomicBool::new(false);
    // Behind a router that is not there: nobody answers.
    let to: IpAddr = "198.18.0.1".parse()?;
    let send = || -> Result<()> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        while !is_over.load(Ordering::Relaxed) {
            // What a full queue refuses, the device counts.
            let _ = socket.send_to(&[0; 18], (to, 9));
        }
        Ok(())
    };
    let network = &lab.server.namespace;
    let mut counted = 0;
    let mut plane = network.enter(|| start(EgressOption::Clsact))??;
    let before = lab.server.counters()?;
    let changed = std::thread::scope(|scope| {
        let sender = scope.spawn(|| network.enter(send));
        let changed = network.enter(|| -> Result<DataPlane> {
            until("packets are counted", || {
                counted += sent(&mut plane).ok()?;
                (counted >= PACKETS).then_some(())
            })?;
            drop(plane);
            start(EgressOption::Auto)
        });
        is_over.store(true, Ordering::Relaxed);
        sender.join().expect("no panic")??;
        changed?
    });
    let mut plane = changed?;
    // The one that was left open before the last start, and the one since.
    for _ in 0..2 {
        counted += sent(&mut plane)?;
    }
    let kernel = lab.server.counters()?.since(before);
    let sent = kernel.tx_packets + kernel.tx_dropped;
    assert!(counted <= sent, "{counted} of {sent}");
    drop(plane);
    Pinned::remove(&folder)?;
    Ok(())
}
