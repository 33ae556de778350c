//! From XDP to passive and back on a pinned device, also where an earlier start was killed on the
//! way.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context as _, Result};
use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode as Mode, links::FdLink,
    tc::TcAttachOptions,
};
use sensor::bpf::{AttachOptions, DataPlane, ModeOption, Pinned, XdpMode};
use sensor_ebpf::lab::program;
use sensor_tests::{
    BpfFs, Generator, Lab, LabOptions, StreamSpec, classifiers, object, root_or_skip, tcx_or_skip,
};

use super::{Bed, DEVICE, close, load, passive::unattached};

/// Starts on `device`, and ends with everything pinned.
fn start_once(folder: &Path, device: &str, passive: bool, mode: ModeOption) -> Result<XdpMode> {
    let mut plane = unattached(folder, passive)?;
    let options = AttachOptions {
        mode,
        ..AttachOptions::default()
    };
    let attachment = plane.attach(device, options)?;
    plane.settle()?;
    Ok(attachment.mode)
}

/// What a process leaves that is killed on the way to XDP, or to passive: the new link is there and
/// pinned, with a program that counts nothing, and the old one is as it was.
fn cut_off(folder: &Path, device: &str, passive: bool) -> Result<()> {
    let links = folder.join("links");
    let pinned = std::fs::read_dir(&links)?.next().context("no link")??;
    let pinned = pinned.file_name().into_string().ok().context("a name")?;
    let (_, index) = pinned.split_once('-').context("a link's name")?;
    let mut other = object()?;
    let (link, name) = if passive {
        let classifier: &mut SchedClassifier = other
            .program_mut(program::VLAN_POP)
            .context("the lab's classifier")?
            .try_into()?;
        classifier.load()?;
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = classifier.attach_with_options(device, TcAttachType::Ingress, order)?;
        (FdLink::try_from(classifier.take_link(id)?)?, "ingress")
    } else {
        let xdp: &mut Xdp = other
            .program_mut(program::PASS)
            .context("the lab's program")?
            .try_into()?;
        xdp.load()?;
        let id = xdp.attach(device, Mode::Default)?;
        (FdLink::try_from(xdp.take_link(id)?)?, "xdp")
    };
    link.pin(links.join(format!("{name}-{index}")))?;
    Ok(())
}

/// Whether our XDP program, and our classifier, are on the device; of others' nothing is.
fn running(bed: &Bed) -> Result<[bool; 2]> {
    let [ingress, _] = classifiers(&bed.namespace, DEVICE)?;
    assert!(
        ingress.iter().all(|name| name == "sensor_ingress"),
        "{ingress:?}"
    );
    Ok([bed.program()?.is_some(), !ingress.is_empty()])
}

#[test]
fn one_mode_takes_the_place_of_the_other() -> Result<()> {
    if !tcx_or_skip() {
        return Ok(());
    }
    Bed::run(|bed| {
        for passive in [true, false, true] {
            start_once(&bed.folder, DEVICE, passive, ModeOption::Auto)?;
            // With both, each packet would be counted twice.
            assert_eq!(running(bed)?, [!passive, passive]);
        }
        Pinned::remove(&bed.folder)?;
        Ok(())
    })
}

/// Whether the next start goes the same way, or back.
#[test]
fn a_start_ends_what_another_was_killed_amid() -> Result<()> {
    if !tcx_or_skip() {
        return Ok(());
    }
    Bed::run(|bed| {
        let start = |passive| start_once(&bed.folder, DEVICE, passive, ModeOption::Auto);
        start(false)?;
        for (cut_off_to, passive) in [(true, true), (false, true)] {
            cut_off(&bed.folder, DEVICE, cut_off_to)?;
            start(passive)?;
            assert_eq!(running(bed)?, [!passive, passive]);
            assert_eq!(std::fs::read_dir(bed.folder.join("links"))?.count(), 2);
        }
        let (mut plane, _) = bed.start()?;
        load(&plane)?.packets(1, 30)?;
        assert_eq!(close(&mut plane), 30);
        Ok(())
    })
}

/// A bridge has no native XDP.
#[test]
fn where_there_is_no_native_mode_what_is_attached_stays() -> Result<()> {
    const BRIDGE: &str = "bpfbridge";
    if !tcx_or_skip() {
        return Ok(());
    }
    Bed::run(|bed| {
        bed.namespace
            .ip(&format!("link add {BRIDGE} type bridge"))?;
        let start = |passive, mode| start_once(&bed.folder, BRIDGE, passive, mode);
        let is_refused = || -> Result<Vec<String>> {
            let refused = start(false, ModeOption::Native).expect_err("no native mode");
            let refused = refused.to_string();
            assert!(refused.contains("native mode"), "{refused}");
            Ok(classifiers(&bed.namespace, BRIDGE)?[0].clone())
        };
        for (passive, mode) in [(false, XdpMode::Generic), (true, XdpMode::Passive)] {
            assert_eq!(start(passive, ModeOption::Auto)?, mode);
            let ingress = is_refused()?;
            assert_eq!(!ingress.is_empty(), passive, "{ingress:?}");
            // What runs there is taken over as it is.
            assert_eq!(start(passive, ModeOption::Auto)?, mode);
        }
        // The way to XDP is begun, and cannot be gone to its end.
        cut_off(&bed.folder, BRIDGE, false)?;
        assert_eq!(is_refused()?, ["sensor_ingress"], "what counts stays");
        Ok(())
    })
}

#[test]
fn no_packet_is_counted_twice_while_the_modes_change() -> Result<()> {
    const PACKETS: u64 = 2000;
    if !root_or_skip() || !tcx_or_skip() {
        return Ok(());
    }
    let lab = Lab::new(LabOptions::default())?;
    let network = &lab.server.namespace;
    let file_system = BpfFs::mount()?;
    let folder = file_system.folder();
    network.enter(|| {
        let start = |passive| -> Result<DataPlane> {
            let mut plane = unattached(&folder, passive)?;
            plane.attach("s0", AttachOptions::default())?;
            plane.settle()?;
            Ok(plane)
        };
        let mut plane = start(false)?;
        let before = lab.server.counters()?;
        let target = SocketAddr::new(lab.server.ipv4(0), 80);
        let spec = StreamSpec {
            flows: 1024,
            ..StreamSpec::syns(target, lab.server.mac())
        };
        let generator = Generator::start(&lab.attacker.namespace, "a0", &spec)?;
        let mut counted = 0;
        let mut count = |plane: &mut DataPlane| -> Result<u64> {
            counted += close(plane);
            plane.generation_recorded(0)?;
            Ok(counted)
        };
        for (passive, was_cut_off) in [(true, false), (false, false), (true, true), (false, true)] {
            let enough = count(&mut plane)? + PACKETS;
            sensor_tests::until("packets are counted", || {
                (count(&mut plane).ok()? >= enough).then_some(())
            })?;
            drop(plane);
            if was_cut_off {
                cut_off(&folder, "s0", passive)?;
            }
            plane = start(passive)?;
        }
        generator.stop()?;
        // The one that was left open before the last start, and the one since.
        count(&mut plane)?;
        let counted = count(&mut plane)?;
        let received = lab.server.counters()?.since(before).rx_packets;
        assert!(counted <= received, "{counted} of {received}");
        Ok(())
    })?
}
