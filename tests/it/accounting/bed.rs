//! A data plane on one end of a veth pair, in a namespace of its own.

use std::collections::HashMap;

use anyhow::Result;
use sensor::{
    bpf::{AttachOptions, DataPlane, Generation, LoadOptions, LoadedProgram},
    source::live::Clock,
};
use sensor_ebpf::abi::{Direction, FlowKey};
use sensor_tests::Namespace;

use super::load::Load;

/// The device that the programs are attached to.
const DEVICE: &str = "bpf0";

/// An attached data plane, used from the thread that made it.
pub(super) struct Bed {
    pub(super) plane: DataPlane,
    pub(super) clock: Clock,
    ifindex: u32,
}

impl Bed {
    /// Runs `test` on a thread inside a new namespace.
    pub(super) fn run(
        options: LoadOptions,
        test: impl FnOnce(&mut Self) -> Result<()> + Send,
    ) -> Result<()> {
        let namespace = Namespace::new()?;
        namespace.ip(&format!("link add {DEVICE} type veth peer name bpf1"))?;
        namespace.ip(&format!("link set {DEVICE} up"))?;
        namespace.enter(|| {
            let mut plane = DataPlane::load(options)?;
            let attachment = plane.attach(DEVICE, AttachOptions::default())?;
            test(&mut Self {
                plane,
                clock: Clock::start(),
                ifindex: attachment.ifindex,
            })
        })?
    }

    /// A load generator that runs the XDP program as if packets arrived on the device.
    pub(super) fn load(&self) -> Result<Load> {
        let program = self.plane.program_fd(LoadedProgram::Ingress);
        Ok(Load::new(program.try_clone_to_owned()?, self.ifindex))
    }
}

/// What closed generations add up to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) runs: u64,
    pub(super) in_flows: u64,
    pub(super) overflow: u64,
    pub(super) difference: u64,
    /// Packets by flow.
    pub(super) flows: HashMap<FlowKey, u64>,
}

impl Tally {
    /// Adds a generation, whose parts have to agree with one another.
    pub(super) fn add(&mut self, generation: &Generation) {
        assert_eq!(
            generation.flow_entries as usize,
            generation.drain.flows.len()
        );
        for flow in &generation.drain.flows {
            assert!(flow.first <= flow.last && flow.packets > 0, "{flow:?}");
            *self.flows.entry(flow.key).or_default() += flow.packets;
            self.in_flows += flow.packets;
        }
        for device in &generation.devices {
            assert_eq!(device.device, DEVICE);
            self.difference += device.difference;
            if device.direction == Direction::Ingress {
                self.runs += device.totals.runs;
                self.overflow += device.totals.overflow.iter().sum::<u64>();
            }
        }
    }
}
