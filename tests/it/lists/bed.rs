//! A data plane with lists, of which packets are judged by `BPF_PROG_TEST_RUN`.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use etherparse::PacketBuilder;
use sensor::{
    bpf::{AttachOptions, DataPlane, DeviceTotals, LoadOptions, LoadedProgram},
    core::time::Timestamp,
    lists::{List, Lists, NewEntry, Source},
    source::live::{Clock, monotonic_ns},
};
use sensor_ebpf::abi::Direction;
use sensor_tests::Namespace;

use crate::test_run;

/// The device that the programs are attached to.
const DEVICE: &str = "list0";

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// Model and data plane, used from the thread that made them.
pub(super) struct Bed {
    pub(super) plane: DataPlane,
    pub(super) lists: Lists,
    pub(super) ifindex: u32,
    clock: Clock,
}

impl Bed {
    /// Runs `test` on a thread inside a new namespace.
    pub(super) fn run(test: impl FnOnce(&mut Self) -> Result<()> + Send) -> Result<()> {
        let namespace = Namespace::new()?;
        namespace.ip(&format!("link add {DEVICE} type veth peer name list1"))?;
        namespace.ip(&format!("link set {DEVICE} up"))?;
        namespace.enter(|| {
            let mut plane = DataPlane::load(LoadOptions {
                flow_table_capacity: 65_536,
                ..LoadOptions::default()
            })?;
            let attachment = plane.attach(DEVICE, AttachOptions::default())?;
            test(&mut Self {
                plane,
                lists: Lists::default(),
                ifindex: attachment.ifindex,
                clock: Clock::start(),
            })
        })?
    }

    /// Puts the model into force.
    pub(super) fn install(&mut self) -> Result<()> {
        Ok(self.plane.set_lists(self.lists.compile(), &[])?)
    }

    /// Adds an entry, as a command does, and puts it into force.
    pub(super) fn list(&mut self, list: List, target: &str, seconds: Option<f64>) -> Result<()> {
        let mut entry = entry(list, target)?;
        entry.until_ns = seconds.map(|seconds| monotonic_ns() + (seconds * 1e9) as u64);
        self.lists.add(entry, Timestamp(0))?;
        self.install()
    }

    /// Takes an entry off, and puts that into force.
    pub(super) fn unlist(&mut self, list: List, target: &str) -> Result<()> {
        self.lists.delete(list, target.parse()?)?;
        self.install()
    }

    /// Whether the program lets a frame pass.
    pub(super) fn passes(&self, frame: &[u8]) -> Result<bool> {
        let program = self.plane.program_fd(LoadedProgram::XdpLinear);
        match test_run::receive(program, self.ifindex, frame, 1)? {
            XDP_PASS => Ok(true),
            XDP_DROP => Ok(false),
            other => anyhow::bail!("verdict {other}"),
        }
    }

    /// Closes a generation, in which every packet has to be booked once, and returns what was
    /// received in it.
    pub(super) fn received(&mut self) -> Result<DeviceTotals> {
        let generation = self.plane.close_generation(&self.clock)?;
        let mut devices = generation.devices.iter();
        let device = devices
            .find(|device| device.direction == Direction::Ingress && device.device == DEVICE)
            .cloned()
            .ok_or_else(|| anyhow::anyhow!("no totals of {DEVICE}"))?;
        ensure!(device.difference == 0, "{device:?}");
        let totals = &device.totals;
        ensure!(
            totals.dropped == totals.dropped_by.iter().sum::<u64>(),
            "{totals:?}"
        );
        Ok(device)
    }
}

/// An entry as a command would make it.
pub(super) fn entry(list: List, target: &str) -> Result<NewEntry> {
    Ok(NewEntry {
        target: target.parse()?,
        list,
        source: Source::Command,
        reason: "".into(),
        dry_run: false,
        until_ns: None,
    })
}

/// TCP or UDP from `source` to a port of a host of the same family.
pub(super) fn packet(source: IpAddr, is_tcp: bool, port: u16) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let network = match source {
        IpAddr::V4(source) => ethernet.ipv4(source.octets(), [10, 77, 0, 2], 64),
        IpAddr::V6(source) => {
            let mut server = [0; 16];
            (server[0], server[15]) = (0xfd, 2);
            ethernet.ipv6(source.octets(), server, 64)
        }
    };
    let mut frame = Vec::new();
    let written = if is_tcp {
        network
            .tcp(40_000, port, 1, 1024)
            .ack(1)
            .write(&mut frame, &[])
    } else {
        network.udp(40_000, port).write(&mut frame, &[0; 18])
    };
    written.expect("a frame fits into memory");
    frame
}
