//! A data plane with lists, of which packets are judged by `BPF_PROG_TEST_RUN`.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, TcpOptionElement};
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

pub(super) const XDP_DROP: u32 = 1;
pub(super) const XDP_PASS: u32 = 2;

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
            test_run::stay_on_this_cpu()?;
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
        Ok(self.plane.set_lists(self.lists.compile())?)
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

    /// What the program says of a frame.
    pub(super) fn verdict(&self, frame: &[u8]) -> Result<u32> {
        let program = self.plane.program_fd(LoadedProgram::Ingress);
        Ok(test_run::receive(program, self.ifindex, frame, 1)?)
    }

    /// Whether the program lets a frame pass.
    pub(super) fn passes(&self, frame: &[u8]) -> Result<bool> {
        match self.verdict(frame)? {
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

/// The host of the same family as `source` that all packets go to.
pub(super) fn server(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => [10, 77, 0, 2].into(),
        IpAddr::V6(_) => [0xfd00, 0, 0, 0, 0, 0, 0, 2].into(),
    }
}

fn network(source: IpAddr) -> PacketBuilderStep<IpHeaders> {
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    match (source, server(source)) {
        (IpAddr::V4(source), IpAddr::V4(to)) => ethernet.ipv4(source.octets(), to.octets(), 64),
        (IpAddr::V6(source), IpAddr::V6(to)) => ethernet.ipv6(source.octets(), to.octets(), 64),
        _ => unreachable!("the server is of the same family"),
    }
}

/// A SYN from `source` to a port of [`server`].
pub(super) fn syn(source: IpAddr, port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    network(source)
        .tcp(40_000, port, 1, 1024)
        .syn()
        .options(&[TcpOptionElement::MaximumSegmentSize(1460)])
        .expect("it fits")
        .write(&mut frame, &[])
        .expect("a frame fits into memory");
    frame
}

/// The frame with VLAN tags, the outermost first, as (protocol, id).
pub(super) fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    let mut tagged = addresses.to_vec();
    for (protocol, id) in tags {
        tagged.extend(protocol.to_be_bytes());
        tagged.extend(id.to_be_bytes());
    }
    tagged.extend(rest);
    tagged
}

/// TCP or UDP from `source` to a port of [`server`].
pub(super) fn packet(source: IpAddr, is_tcp: bool, port: u16) -> Vec<u8> {
    let network = network(source);
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
