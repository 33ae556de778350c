//! Passive mode: a classifier beside an XDP program of somebody else.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

use anyhow::{Context as _, Result};
use aya::programs::{SchedClassifier, TcAttachType};
use sensor::{
    bpf::{
        AttachError, AttachOptions, DataPlane, DeviceChange, EgressOption, LoadOptions, XdpMode,
    },
    source::live::Clock,
};
use sensor_ebpf::{
    abi::{Direction, Settings, mode},
    lab::program,
};
use sensor_tests::{
    Counters, ForeignProgram, Generator, Lab, LabOptions, Namespace, StreamSpec, VLANS,
    classifiers, object, root_or_skip, tcx_or_skip, until,
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

/// A tag is in the packets' metadata where GRO sees them, as a driver puts it there that takes tags
/// off: of what a device sends, the lab's wire would keep none.
#[test]
fn merged_packets_of_a_vlan_count_as_on_the_wire() -> Result<()> {
    const UPLOAD: usize = 3_000_000;
    /// What the device has taken off each packet before it counts bytes: Ethernet header and tag.
    const NOT_COUNTED: u64 = 14 + 4;
    if !root_or_skip() || !tcx_or_skip() {
        return Ok(());
    }
    let (server, client) = (Namespace::new()?, Namespace::new()?);
    let peer = client.path();
    let peer = peer.display();
    server.ip(&format!(
        "link add bpf0 type veth peer name bpf1 netns {peer}"
    ))?;
    let network = format!("10.77.{}", VLANS[0]);
    for (namespace, device, number, other) in [(&server, "bpf0", 1, 2), (&client, "bpf1", 2, 1)] {
        let mac = "02:00:00:00:00:0";
        namespace.set_sysctl(&format!("net/ipv6/conf/{device}/disable_ipv6"), 1)?;
        namespace.ip(&format!("addr add {network}.{number}/24 dev {device}"))?;
        namespace.ip(&format!("link set {device} address {mac}{number} up"))?;
        // Nobody asks for the other's address: that would be a packet without a tag.
        namespace.ip(&format!(
            "neigh add {network}.{other} lladdr {mac}{other} dev {device} nud permanent"
        ))?;
    }
    let _foreign = ForeignProgram::pass(&server, "bpf0")?;
    output(&server, "ethtool", "-K bpf0 gro on")?;
    let mut tags = object()?;
    let mut add = |name, namespace: &Namespace, device, direction| -> Result<()> {
        let program = tags.program_mut(name).context("the lab's classifier")?;
        let program: &mut SchedClassifier = program.try_into()?;
        program.load()?;
        namespace.enter(|| program.attach(device, direction))??;
        Ok(())
    };
    add(program::VLAN_PUSH, &client, "bpf1", TcAttachType::Egress)?;
    let mut plane = server.enter(|| -> Result<DataPlane> {
        let mut plane = plane()?;
        plane.apply(&Settings {
            mode: mode::SAMPLE_FULL,
            budget: [1_000_000; 5],
            ..Settings::default()
        })?;
        plane.attach("bpf0", AttachOptions::default())?;
        Ok(plane)
    })??;
    // Behind the sensor's.
    add(program::VLAN_POP, &server, "bpf0", TcAttachType::Ingress)?;

    let before = Counters::read(&server, "bpf0")?;
    let address: SocketAddr = format!("{network}.1:9000").parse()?;
    let listener = server.enter(|| TcpListener::bind(address))??;
    std::thread::scope(|scope| -> Result<()> {
        let reader = scope.spawn(move || -> Result<usize> {
            let (mut stream, _) = listener.accept()?;
            Ok(stream.read_to_end(&mut Vec::new())?)
        });
        client.enter(|| -> Result<()> {
            let mut stream = TcpStream::connect(address)?;
            Ok(stream.write_all(&vec![0x55; UPLOAD])?)
        })??;
        assert_eq!(reader.join().expect("no panic")?, UPLOAD);
        Ok(())
    })?;

    let (mut counted, mut frames) = ([0; 2], 0);
    let clock = Clock::start();
    until("the counts agree", || {
        for device in &plane.close_generation(&clock).ok()?.devices {
            assert_eq!(device.difference, 0, "{device:?}");
            if device.direction == Direction::Ingress {
                counted[0] += device.totals.runs;
                counted[1] += device.totals.bytes;
                frames += device.totals.sampled + device.totals.sample_lost.iter().sum::<u64>();
            }
        }
        let kernel = Counters::read(&server, "bpf0").ok()?.since(before);
        let bytes = kernel.rx_bytes + NOT_COUNTED * kernel.rx_packets;
        (counted == [kernel.rx_packets, bytes]).then_some(())
    })
    .with_context(|| {
        let kernel = Counters::read(&server, "bpf0");
        format!("{counted:?}, {frames} frames, {kernel:?} since {before:?}")
    })?;
    assert!(counted[0] > (UPLOAD / 1460) as u64, "{counted:?}");
    // Without merged packets the test would show nothing.
    assert!(frames < counted[0], "{frames} frames for {counted:?}");
    Ok(())
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
