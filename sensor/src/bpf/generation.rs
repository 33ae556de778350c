//! Generations: flip, wait, read, check, clear.

use std::io;

use sensor_ebpf::abi::{
    Direction, FlowEntry, FlowKey, MAX_DEVICES, TOTALS_SLOTS, Totals, entry_flags, totals_index,
};

use super::{
    GenerationError, Grace,
    flows::FlowTables,
    law,
    slots::Slots,
    sys::map::{Array, GracePeriod, PerCpuArray},
};
use crate::{
    core::{
        kernel::{Drain, KernelFlow},
        time::Timestamp,
    },
    source::live::{Clock, monotonic_ns},
};

/// Name for what the kernel counted on a device that nobody attached.
pub const UNKNOWN_DEVICE: &str = "unknown";

/// Both directions of a device.
const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// Everything that the kernel counted between two flips of the epoch: complete and consistent.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The flows, with wall times, for the engine.
    pub drain: Drain,
    /// The totals of each device and direction. Packets that the kernel could not attribute to an
    /// attached device, if there are any, are those of a device called `unknown`.
    pub devices: Vec<DeviceTotals>,
    /// Records in the flow table when it was closed; a flow that two CPUs met for the first time
    /// at once may have two.
    pub flow_entries: u32,
    /// Flows that the table was made for; chance may let in up to half as many again.
    pub flow_capacity: u32,
    /// The table was more than 70 % full, or full: the caller should halve its interval, and
    /// lengthen it again when this stays false.
    pub crowded: bool,
}

/// One device's and direction's share of a closed generation.
#[derive(Clone, Debug)]
pub struct DeviceTotals {
    /// The device's name.
    pub device: String,
    /// Its index.
    pub ifindex: u32,
    /// Received or sent.
    pub direction: Direction,
    /// What the programs counted, summed over all CPUs.
    pub totals: Totals,
    /// What the flow records add up to.
    pub flows: FlowSums,
    /// `|runs - (flows + overflow + non-IP + unparsed + suppressed)|` in packets: 0 by the law of
    /// accounting.
    pub difference: u64,
    /// The sum of `difference` for this device, over both directions, since it was first attached.
    pub difference_total: u64,
}

/// Sums over flow records, by [`sensor_ebpf::abi::ProtocolClass`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSums {
    /// Records.
    pub entries: u32,
    /// Their packets.
    pub packets: [u64; 6],
    /// Their bytes.
    pub bytes: [u64; 6],
}

/// How far the generation that is being closed has come, so that an error loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No generation is being closed.
    Counting,
    /// The epoch was flipped.
    Flipped,
    /// Everything was read, and is still in the maps until it is recorded.
    Read,
}

/// Where counting begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Maps of this process's own, into which nothing has counted yet.
    At {
        /// Number of the first generation.
        epoch: u64,
    },
    /// Maps of an earlier process, into which programs may be counting now.
    Resume {
        /// The last generation that the earlier process has recorded.
        recorded: u64,
    },
}

/// The maps of both generations, and the memory that closing one needs.
#[derive(Debug)]
pub(super) struct Generations {
    epoch_map: Array<u64>,
    flows: FlowTables,
    totals: PerCpuArray<Totals>,
    grace: GracePeriod,
    how: Grace,
    /// The generation that is counted into.
    epoch: u64,
    phase: Phase,
    sums: [[FlowSums; 2]; TOTALS_SLOTS],
    closed: Generation,
}

impl Generations {
    /// Starts counting, or goes on.
    ///
    /// A generation that the earlier process had flipped away from and not recorded is the next to
    /// be closed. One that it had recorded may not have been cleared, or in part only: it is
    /// cleared here, so that nothing of it is counted twice.
    pub(super) fn start(
        epoch_map: Array<u64>,
        flows: FlowTables,
        totals: PerCpuArray<Totals>,
        how: Grace,
        beginning: Beginning,
    ) -> io::Result<Self> {
        let grace = GracePeriod::new()?;
        let (epoch, phase) = match beginning {
            Beginning::At { epoch } => {
                epoch_map.set(0, &epoch)?;
                (epoch, Phase::Counting)
            }
            Beginning::Resume { recorded } => {
                let epoch: u64 = epoch_map.get(0)?;
                if recorded + 1 < epoch {
                    (epoch, Phase::Flipped)
                } else {
                    (epoch, Phase::Read)
                }
            }
        };
        let mut generations = Self {
            epoch_map,
            totals,
            grace,
            how,
            epoch,
            phase,
            sums: [[FlowSums::default(); 2]; TOTALS_SLOTS],
            closed: Generation {
                drain: Drain {
                    epoch: 0,
                    closed: Timestamp(0),
                    // Address space only: pages come with the flows, and stay.
                    flows: Vec::with_capacity(flows.room()),
                },
                devices: Vec::with_capacity(2 * MAX_DEVICES),
                flow_entries: 0,
                flow_capacity: flows.capacity(),
                crowded: false,
            },
            flows,
        };
        if phase == Phase::Read {
            generations.discard()?;
        }
        Ok(generations)
    }

    /// Clears a generation that was recorded, whatever is left of it.
    fn discard(&mut self) -> io::Result<()> {
        let old = self.epoch - 1;
        // Programs that read the epoch before the earlier process's flip have long ended.
        self.flows.read(old, |_, _| {})?;
        self.clear(old)?;
        self.phase = Phase::Counting;
        Ok(())
    }

    /// The generation that is counted into.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Flows that a table was made for.
    pub(super) const fn capacity(&self) -> u32 {
        self.closed.flow_capacity
    }

    /// For tests: loses flows of the generation that is counted into.
    pub(super) fn lose_flows(&mut self) {
        self.flows.lose(self.epoch);
    }

    /// The generation that was read and is not yet recorded.
    pub(super) fn read(&self) -> Option<u64> {
        (self.phase == Phase::Read).then(|| self.epoch - 1)
    }

    /// Packets of the flows of the generation that was read.
    pub(super) fn packets(&self) -> u64 {
        let devices = self.closed.devices.iter();
        devices.flat_map(|device| device.flows.packets).sum()
    }

    /// Returns when no program runs that was attached before this call and is not any more.
    pub(super) fn wait(&self) -> io::Result<()> {
        self.grace.wait()
    }

    /// Whether a generation was left that nobody has recorded, before the one that is counted into.
    pub(super) fn is_behind(&self) -> bool {
        self.phase == Phase::Flipped
    }

    /// Closes the current generation, or the one that an earlier call could not close.
    ///
    /// The order is what makes the result exact. A program reads the epoch once, so that all its
    /// counting goes to one generation. After the flip and a grace period no program can hold the
    /// old number: its table and totals no longer change. They are cleared only once they are
    /// recorded, which this call takes for granted for the generation before, and before the next
    /// flip makes them current again.
    pub(super) fn close(
        &mut self,
        slots: &mut Slots,
        clock: &Clock,
    ) -> Result<&Generation, GenerationError> {
        self.recorded(slots)?;
        if self.phase == Phase::Counting {
            let next = self.epoch + 1;
            let flipped = self.epoch_map.set(0, &next);
            self.step("flipping the epoch", self.epoch, flipped)?;
            self.epoch = next;
            self.phase = Phase::Flipped;
        }
        let old = self.epoch - 1;
        if self.phase == Phase::Flipped {
            if self.how == Grace::Wait {
                self.step("waiting for running programs", old, self.grace.wait())?;
            }
            self.closed.drain.epoch = old;
            self.closed.drain.closed = clock.wall(monotonic_ns());
            let read = self.read_flows(old, slots, clock);
            self.step("reading the flow table", old, read)?;
            let read = self.read_totals(old, slots);
            self.step("reading the totals", old, read)?;
            self.phase = Phase::Read;
        }
        Ok(&self.closed)
    }

    /// Clears the generation that was read, if there is one: its records are in good hands.
    pub(super) fn recorded(&mut self, slots: &mut Slots) -> Result<(), GenerationError> {
        let Some(old) = self.read() else {
            return Ok(());
        };
        let cleared = self.clear(old);
        self.step("clearing what was read", old, cleared)?;
        self.phase = Phase::Counting;
        slots.closed(old);
        Ok(())
    }

    fn step<T>(
        &self,
        step: &'static str,
        epoch: u64,
        result: io::Result<T>,
    ) -> Result<T, GenerationError> {
        result.map_err(|source| GenerationError {
            epoch,
            step,
            source,
        })
    }

    fn read_flows(&mut self, epoch: u64, slots: &Slots, clock: &Clock) -> io::Result<()> {
        let flows = &mut self.closed.drain.flows;
        let sums = &mut self.sums;
        flows.clear();
        *sums = [[FlowSums::default(); 2]; TOTALS_SLOTS];
        self.flows.read(epoch, |key, entry| {
            let direction = usize::from(key.direction == Direction::Egress as u8);
            let slot = slots.of_index(key.ifindex) as usize;
            law::add_flow(&mut sums[slot][direction], key.protocol, entry);
            flows.push(kernel_flow(key, entry, clock));
        })?;
        self.closed.flow_entries = u32::try_from(flows.len()).unwrap_or(u32::MAX);
        Ok(())
    }

    fn read_totals(&mut self, epoch: u64, slots: &mut Slots) -> io::Result<()> {
        let mut devices = std::mem::take(&mut self.closed.devices);
        devices.clear();
        let mut overflow = 0;
        for slot in slots.iter_mut() {
            for direction in DIRECTIONS {
                let totals = self.device_totals(epoch, slot.id, direction)?;
                overflow += totals.totals.overflow.iter().sum::<u64>();
                devices.push(DeviceTotals {
                    device: slot.device.clone(),
                    ifindex: slot.ifindex,
                    ..totals
                });
            }
        }
        for direction in DIRECTIONS {
            let unknown = self.device_totals(epoch, 0, direction)?;
            if unknown.totals.runs != 0 || unknown.difference != 0 {
                devices.push(unknown);
            }
        }
        // Only now, so that a generation that had to be read twice is charged once.
        for (slot, directions) in slots.iter_mut().zip(devices.chunks_mut(DIRECTIONS.len())) {
            slot.difference_total += directions.iter().map(|one| one.difference).sum::<u64>();
            for one in directions {
                one.difference_total = slot.difference_total;
            }
        }
        self.closed.devices = devices;
        let capacity = u64::from(self.closed.flow_capacity);
        self.closed.crowded =
            overflow > 0 || u64::from(self.closed.flow_entries) * 10 > capacity * 7;
        Ok(())
    }

    fn device_totals(
        &mut self,
        epoch: u64,
        slot: u32,
        direction: Direction,
    ) -> io::Result<DeviceTotals> {
        let totals = law::sum(self.totals.read(totals_index(epoch, slot, direction))?);
        let flows = self.sums[slot as usize][direction as usize];
        let difference = law::difference(&totals, &flows);
        Ok(DeviceTotals {
            device: UNKNOWN_DEVICE.into(),
            ifindex: 0,
            direction,
            totals,
            flows,
            difference,
            difference_total: difference,
        })
    }

    /// Makes ready for another generation what was read.
    fn clear(&mut self, epoch: u64) -> io::Result<()> {
        self.flows.clear(epoch)?;
        for slot in 0..TOTALS_SLOTS as u32 {
            for direction in DIRECTIONS {
                self.totals.zero(totals_index(epoch, slot, direction))?;
            }
        }
        Ok(())
    }
}

fn kernel_flow(key: &FlowKey, entry: &FlowEntry, clock: &Clock) -> KernelFlow {
    KernelFlow {
        key: *key,
        packets: entry.packets,
        bytes: entry.bytes,
        first: clock.wall(entry.first_ns),
        // Stored without order by several CPUs: the last store may be the earlier tick.
        last: clock.wall(entry.last_ns.max(entry.first_ns)),
        tcp_flags: (entry.tcp_flags & 0xff) as u8,
        syn: entry.syn,
        syn_ack: entry.syn_ack,
        fin: entry.fin,
        rst: entry.rst,
        by_cookie: entry.tcp_flags & entry_flags::BY_COOKIE != 0,
    }
}
