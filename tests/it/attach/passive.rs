//! Passive mode: a classifier beside an XDP program of somebody else.

use std::net::SocketAddr;

use anyhow::Result;
use sensor::{
    bpf::{
        AttachError, AttachOptions, DataPlane, DeviceChange, EgressOption, LoadOptions, XdpMode,
    },
    source::live::Clock,
};
use sensor_ebpf::abi::Direction;
use sensor_tests::{
    ForeignProgram, Generator, Lab, LabOptions, StreamSpec, classifiers, root_or_skip, tcx_or_skip,
    until,
};

use super::{output, pair};

fn plane() -> Result<DataPlane> {
    Ok(DataPlane::load(LoadOptions {
        flow_table_capacity: 4096,
        ring_bytes: 64 * 1024,
        passive: true,
        ..LoadOptions::default()
    })?)
}

#[test]
fn it_follows_a_device_and_takes_no_mirror_port() -> Result<()> {
    if !root_or_skip() || !tcx_or_skip() {
        return Ok(());
    }
    let namespace = pair()?;
    let foreign = ForeignProgram::pass(&namespace, "bpf0")?;
    namespace.enter(|| {
        let mut plane = plane()?;
        let tap = AttachOptions {
            tap: true,
            ..AttachOptions::default()
        };
        let refused = plane.attach("bpf0", tap);
        assert!(
            matches!(refused, Err(AttachError::TapPassive { .. })),
            "{refused:?}"
        );
        let attachment = plane.attach("bpf0", AttachOptions::default())?;
        assert_eq!(attachment.mode, XdpMode::Passive);
        assert_eq!(plane.follow_devices(), []);
        // Made again between two looks.
        drop(foreign);
        namespace.ip("link del bpf0")?;
        namespace.ip("link add bpf0 type veth peer name bpf1")?;
        let changes = plane.follow_devices();
        let [DeviceChange::Vanished { .. }, DeviceChange::Returned(again)] = &changes[..] else {
            anyhow::bail!("not followed: {changes:?}");
        };
        assert_eq!(again.mode, XdpMode::Passive);
        let names = classifiers(&namespace, "bpf0")?;
        assert_eq!(names, [["sensor_ingress"], ["sensor_egress"]]);
        assert!(plane.detach("bpf0"));
        assert_eq!(classifiers(&namespace, "bpf0")?, [[""; 0]; 2]);
        Ok(())
    })?
}

#[test]
fn every_packet_is_in_exactly_one_generation() -> Result<()> {
    if !root_or_skip() || !tcx_or_skip() {
        return Ok(());
    }
    let lab = Lab::new(LabOptions::default())?;
    let network = &lab.server.namespace;
    let _foreign = ForeignProgram::pass(network, "s0")?;
    network.enter(|| {
        let mut plane = plane()?;
        plane.attach("s0", AttachOptions::default())?;
        let clock = Clock::start();
        let before = lab.server.counters()?;
        let spec = StreamSpec {
            flows: 1024,
            ..StreamSpec::syns(SocketAddr::new(lab.server.ipv4(0), 80), lab.server.mac())
        };
        let generator = Generator::start(&lab.attacker.namespace, "a0", &spec)?;
        let mut counted = 0;
        let mut close = || -> Result<u64> {
            for device in &plane.close_generation(&clock)?.devices {
                assert_eq!(device.difference, 0, "{device:?}");
                if device.direction == Direction::Ingress {
                    assert_eq!(device.flows.packets.iter().sum::<u64>(), device.totals.runs);
                    counted += device.totals.runs;
                }
            }
            Ok(counted)
        };
        let mut swaps = 0;
        while swaps < 50 || close()? < 100_000 {
            close()?;
            swaps += 1;
        }
        generator.stop()?;
        until("the counts agree", || {
            let counted = close().ok()?;
            let received = lab.server.counters().ok()?.since(before).rx_packets;
            (received == counted).then_some(())
        })
    })?
}

/// No XDP program tells that it is somebody's.
#[test]
fn its_egress_filter_outlives_the_start_of_another() -> Result<()> {
    if !root_or_skip() || !tcx_or_skip() {
        return Ok(());
    }
    let namespace = pair()?;
    namespace.enter(|| {
        let filters = || output(&namespace, "tc", "filter show dev bpf0 egress");
        let mut first = plane()?;
        let clsact = AttachOptions {
            egress: EgressOption::Clsact,
            ..AttachOptions::default()
        };
        first.attach("bpf0", clsact)?;
        let other = plane()?;
        assert!(filters()?.contains("sensor_egress"), "{}", filters()?);
        drop((first, other));
        assert_eq!(filters()?, "");
        Ok(())
    })?
}
