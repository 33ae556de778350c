//! A pinned data plane that is passive.

use std::path::Path;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, Map, MapData},
    programs::{LinkOrder, SchedClassifier, TcAttachType, tc::TcAttachOptions},
};
use sensor::bpf::{
    AttachError, AttachOptions, DataPlane, LoadOptions, LoadedProgram, Pinned, XdpMode,
};
use sensor_ebpf::{
    abi::{DEVICES_SIZE, GuardMode, Settings, map},
    lab::program,
};
use sensor_tests::{
    BpfFs, ForeignProgram, Host, Lab, LabOptions, Sensor, SensorOptions, classifiers, kernel_is,
    object, root_or_skip, tcx_or_skip,
};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{Bed, DEVICE, close};
use crate::test_run;

/// More programs than one hook takes (`BPF_MPROG_MAX`).
const MANY: usize = 65;

/// What follows the addresses of an Ethernet frame: a datagram without payload.
const IPV4_UDP: [u8; 30] = [
    0x08, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x10, 0, 0, 9, 0,
    8, 0, 0,
];

/// A data plane that is attached to nothing yet.
pub(super) fn unattached(folder: &Path, passive: bool) -> Result<DataPlane> {
    let options = LoadOptions {
        flow_table_capacity: 4096,
        ring_bytes: 64 * 1024,
        passive,
        ..LoadOptions::default()
    };
    Ok(DataPlane::load_pinned(options, folder)?)
}

fn plane(bed: &Bed) -> Result<DataPlane> {
    let mut plane = unattached(&bed.folder, true)?;
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
    if !tcx_or_skip() {
        return Ok(());
    }
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
        assert_eq!(close(&mut plane), 35);
        drop(plane);
        Pinned::remove(&bed.folder)?;
        assert_eq!(classifiers(&bed.namespace, DEVICE)?, [[""; 0]; 2]);
        assert!(bed.program()?.is_some(), "the other's program stays");
        Ok(())
    })
}

/// Leaves no room at the device's TCX ingress hook, on kernels that have one.
fn crowd(device: &str) -> Result<Vec<Ebpf>> {
    let mut others = Vec::new();
    while kernel_is(6, 6) {
        let mut other = object()?;
        let classifier: &mut SchedClassifier = other
            .program_mut(program::VLAN_POP)
            .context("the lab's classifier")?
            .try_into()?;
        classifier.load()?;
        let order = TcAttachOptions::TcxOrder(LinkOrder::default());
        if classifier
            .attach_with_options(device, TcAttachType::Ingress, order)
            .is_err()
        {
            break;
        }
        others.push(other);
        anyhow::ensure!(others.len() < MANY, "the hook is never full");
    }
    Ok(others)
}

#[test]
fn where_there_is_no_room_for_a_classifier_the_program_stays() -> Result<()> {
    Bed::run(|bed| {
        let (plane_by_xdp, _) = bed.start()?;
        super::load(&plane_by_xdp)?.packets(1, 30)?;
        let mut load = super::load(&plane_by_xdp)?;
        drop(plane_by_xdp);
        let running = bed.program()?;
        assert!(running.is_some());
        let others = crowd(DEVICE)?;
        let mut passive = unattached(&bed.folder, true)?;
        for refused in [
            passive.check(DEVICE, AttachOptions::default()).err(),
            passive.attach(DEVICE, AttachOptions::default()).err(),
        ] {
            assert!(
                matches!(refused, Some(AttachError::Passive { .. })),
                "{refused:?}"
            );
        }
        drop(passive);
        assert_eq!(bed.program()?, running);
        load.packets(1, 5)?;
        drop(others);
        let (mut plane_by_xdp, _) = bed.start()?;
        assert_eq!(close(&mut plane_by_xdp), 35);
        Ok(())
    })
}

#[test]
fn a_start_that_is_refused_changes_nothing_of_the_defence() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let lab = Lab::new(LabOptions::default())?;
    let file_system = BpfFs::mount()?;
    let directory = sensor_tests::scratch()?;
    let options = |name: &str, text: &str| -> Result<SensorOptions> {
        let file = directory.path().join(name);
        let pins = file_system.folder().display().to_string();
        std::fs::write(
            &file,
            format!("{text}[pin]\nenabled = true\npath = \"{pins}\"\n"),
        )?;
        Ok(SensorOptions {
            args: vec!["-c".to_owned(), file.display().to_string()],
            ..SensorOptions::default()
        })
    };
    // Of each set of maps: a start that is refused may leave new ones beside those that it read.
    let guard_modes = || -> Result<Vec<u32>> {
        let mut modes = Vec::new();
        for state in std::fs::read_dir(file_system.folder())? {
            let state = state?.path();
            if state.ends_with("links") {
                continue;
            }
            let map = Map::Array(MapData::from_pin(state.join(map::SETTINGS))?);
            let map: Array<_, [u64; size_of::<Settings>() / 8]> = map.try_into()?;
            let words = map.get(&0, 0)?;
            let settings = Settings::read_from_bytes(words.as_bytes());
            modes.push(settings.ok().context("another size")?.guard);
        }
        Ok(modes)
    };
    let mitigating = GuardMode::Mitigate as u32;
    let defending = options("xdp.toml", "[guard]\nmode = \"mitigate\"\n")?;
    Sensor::start(&lab.server, &defending)?.stop()?;
    assert_eq!(guard_modes()?, [mitigating]);
    let mut passive = options("passive.toml", "mode = \"passive\"\n")?;
    let is_refused = |host: &Host, options: &SensorOptions, why: &str| -> Result<()> {
        let ended = Sensor::spawn(host, options)?.end()?;
        assert_eq!(ended.status.code(), Some(1), "{}", ended.messages);
        assert!(ended.messages.contains(why), "{}", ended.messages);
        let modes = guard_modes()?;
        assert!(modes.iter().all(|mode| *mode == mitigating), "{modes:?}");
        Ok(())
    };
    // Known before anything is changed.
    let network = &lab.server.namespace;
    let others = network.enter(|| crowd("s0"))??;
    is_refused(&lab.server, &passive, "TCX ingress")?;
    drop(others);
    // Only found by attaching: the kernel's table of devices takes two indices for the same.
    let mut index = network.command("cat");
    let index = index.arg("/sys/class/net/s0/ifindex").output()?;
    let index: usize = String::from_utf8(index.stdout)?.trim().parse()?;
    let index = index + DEVICES_SIZE;
    network.ip(&format!("link add x0 index {index} type veth peer name x1"))?;
    let colliding = Host {
        device: "x0",
        ..lab.server.clone()
    };
    passive.args.extend(["-i".to_owned(), "s0".to_owned()]);
    is_refused(&colliding, &passive, "x0")?;
    // One device has new programs, which count into new maps, before the other is refused.
    let text = "[guard]\nmode = \"monitor\"\n[flows]\ncapacity = 16384\n";
    let mut larger = options("larger.toml", text)?;
    larger.args.extend(["-i".to_owned(), "x0".to_owned()]);
    is_refused(&lab.server, &larger, "x0")?;
    assert_eq!(guard_modes()?.len(), 2);
    Ok(())
}
