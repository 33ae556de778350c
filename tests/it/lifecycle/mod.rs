//! The data plane from one process to the next. All of it needs root.

mod devices;
mod egress;
mod guard;
mod handover;
mod passive;
mod process;
mod state;
mod takeover;
mod versions;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sensor::{
    bpf::{AttachOptions, DataPlane, Generation, LoadOptions, LoadedProgram, Takeover},
    source::live::Clock,
};
use sensor_ebpf::abi::Direction;
use sensor_tests::{BpfFs, Namespace, root_or_skip};

use super::accounting::load::Load;

const DEVICE: &str = "bpf0";

/// A veth pair in a namespace of its own, and a place for pins.
struct Bed {
    folder: PathBuf,
    namespace: Namespace,
    _file_system: BpfFs,
}

impl Bed {
    /// Runs `test` on a thread inside a new namespace, if this is root.
    fn run(test: impl FnOnce(&Self) -> Result<()> + Send) -> Result<()> {
        if !root_or_skip() {
            return Ok(());
        }
        let namespace = Namespace::new()?;
        namespace.ip(&format!("link add {DEVICE} type veth peer name bpf1"))?;
        namespace.ip(&format!("link set {DEVICE} up"))?;
        let file_system = BpfFs::mount()?;
        let bed = Self {
            folder: file_system.folder(),
            namespace: namespace.clone(),
            _file_system: file_system,
        };
        namespace.enter(|| test(&bed))?
    }

    fn plane(&self) -> Result<DataPlane> {
        self.plane_of(4096)
    }

    /// A data plane for so many flows.
    fn plane_of(&self, flow_table_capacity: u32) -> Result<DataPlane> {
        let options = LoadOptions {
            flow_table_capacity,
            ring_bytes: 64 * 1024,
            ..LoadOptions::default()
        };
        Ok(DataPlane::load_pinned(options, &self.folder)?)
    }

    /// A data plane on the device, and what it took over.
    fn start(&self) -> Result<(DataPlane, Option<Takeover>)> {
        let mut plane = self.plane()?;
        plane.attach(DEVICE, AttachOptions::default())?;
        let taken = plane.settle()?;
        Ok((plane, taken))
    }

    /// Starts that end before they attach anything, and when they try.
    fn fail(&self, flow_table_capacity: u32) -> Result<()> {
        drop(self.plane_of(flow_table_capacity)?);
        let mut plane = self.plane_of(flow_table_capacity)?;
        let refused = plane.attach("nope0", AttachOptions::default());
        anyhow::ensure!(refused.is_err(), "attached to nothing");
        Ok(())
    }

    /// What the kernel says runs on the device.
    fn program(&self) -> Result<Option<u32>> {
        let output = self
            .namespace
            .command("ip")
            .args(["-d", "link", "show", DEVICE])
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let Some((_, rest)) = text.split_once("prog/xdp id ") else {
            return Ok(None);
        };
        let id = rest.split_whitespace().next().context("an id")?;
        Ok(Some(id.parse()?))
    }
}

/// A generator of packets that arrive at the plane's device, which outlives the plane.
fn load(plane: &DataPlane) -> Result<Load> {
    let ifindex = plane.attachments().next().context("attached")?.ifindex;
    let program = plane.program_fd(LoadedProgram::Ingress);
    Ok(Load::new(program.try_clone_to_owned()?, ifindex))
}

/// Received packets of a generation in flow records; the law of accounting has to hold.
#[track_caller]
fn packets(generation: &Generation) -> u64 {
    let mut packets = 0;
    for device in &generation.devices {
        assert_eq!(device.difference, 0, "{device:?}");
        if device.direction == Direction::Ingress {
            packets += device.flows.packets.iter().sum::<u64>();
        }
    }
    packets
}

/// Closes a generation of `plane` and tells how many packets were in it.
#[track_caller]
fn close(plane: &mut DataPlane) -> u64 {
    let generation = plane.close_generation(&Clock::start()).expect("closed");
    packets(generation)
}

/// Whether nothing is left of a folder of pins.
fn is_gone(folder: &Path) -> bool {
    !folder.exists()
}
