//! What one run of a program knows of itself.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use sensor_ebpf::abi::{
    DEVICES_SIZE, Direction, DropReason, FlowKey, ProtocolClass, Settings, Totals, totals_index,
};

use super::maps::{CPU, Cpu, DEVICES, EPOCH, SETTINGS, TOTALS};

/// One packet on its way through a program.
pub(super) struct Run {
    /// Read once: flow table and totals of one packet belong to the same generation.
    pub(super) epoch: u64,
    pub(super) ifindex: u32,
    pub(super) direction: Direction,
    /// Wire bytes without FCS.
    pub(super) bytes: u64,
    /// Packets that this run stands for.
    pub(super) packets: u64,
    /// Whether the device has a slot of its own in the totals.
    pub(super) known_device: bool,
    pub(super) totals: &'static mut Totals,
    pub(super) cpu: &'static mut Cpu,
    pub(super) settings: &'static Settings,
}

impl Run {
    /// Counts the run, before anything else. `None` cannot happen: all look-ups are within
    /// arrays, but the verifier wants to see it handled.
    #[inline(always)]
    pub(super) fn begin(
        ifindex: u32,
        direction: Direction,
        packets: u64,
        bytes: u64,
    ) -> Option<Self> {
        let epoch = *EPOCH.get(0)?;
        let device = *DEVICES.get(ifindex % DEVICES_SIZE as u32)?;
        let known_device = device >> 32 == u64::from(ifindex) && device != 0;
        let slot = if known_device { device as u32 } else { 0 };
        // SAFETY: the value belongs to this CPU, and no other program of this direction runs on
        // it before this one ends.
        let totals = unsafe { &mut *TOTALS.get_ptr_mut(totals_index(epoch, slot, direction))? };
        totals.runs += packets;
        totals.bytes += bytes;
        // SAFETY: as above; see `Cpu`.
        let cpu = unsafe { &mut *CPU.get_ptr_mut(0)? };
        let settings = SETTINGS.get(0)?;
        Some(Self {
            epoch,
            ifindex,
            direction,
            bytes,
            packets,
            known_device,
            totals,
            cpu,
            settings,
        })
    }

    /// Drops the packet and keeps it out of the flow table.
    #[inline(always)]
    pub(super) fn refuse(&mut self, key: &FlowKey, reason: DropReason) {
        self.suppress(ProtocolClass::of(key.protocol));
        self.dropped(reason);
    }

    /// Books the packet as one that is kept out of the flow table.
    #[inline(always)]
    pub(super) fn suppress(&mut self, class: ProtocolClass) {
        let class = class as usize;
        if let Some(packets) = self.totals.suppressed.get_mut(class)
            && let Some(bytes) = self.totals.suppressed_bytes.get_mut(class)
        {
            *packets += self.packets;
            *bytes += self.bytes;
        }
    }

    /// Counts a packet that the program drops.
    #[inline(always)]
    pub(super) fn dropped(&mut self, reason: DropReason) {
        self.totals.dropped += self.packets;
        self.totals.dropped_bytes += self.bytes;
        if let Some(packets) = self.totals.dropped_by.get_mut(reason as usize) {
            *packets += self.packets;
        }
    }

    /// The coarse monotonic clock. It moves with the tick only, as `jiffies` does, which costs
    /// one load instead of a call: the clock is read where `jiffies` has moved.
    #[inline(always)]
    pub(super) fn now_ns(&mut self) -> u64 {
        // SAFETY: the helpers have no preconditions.
        let jiffies = unsafe { bpf_jiffies64() };
        if self.cpu.jiffies != jiffies {
            self.cpu.jiffies = jiffies;
            // SAFETY: the helpers have no preconditions.
            self.cpu.now_ns = unsafe { bpf_ktime_get_coarse_ns() };
        }
        self.cpu.now_ns
    }
}
