//! Everything that a scrape shows, as of the last closed generation.

use std::collections::BTreeMap;

use sensor_ebpf::abi::{DestinationCounters, Direction, Totals};

use super::Dissected;
use crate::{
    bpf::{DeviceTotals, ProgramStats, Takeover, XdpMode},
    core::{stats::Stats, time::Timestamp},
    guard,
    source::live,
};

/// One consistent view of all counters. Counters are sums since the start of the process: they
/// survive devices that vanish and come back.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By device name.
    pub devices: BTreeMap<String, Device>,
    /// Entries that one generation's flow table can hold.
    pub flow_capacity: u32,
    pub generations: u64,
    pub generation_errors: u64,
    /// How long the last generation took to close, seconds.
    pub generation_seconds: f64,
    pub engine: Stats,
    pub dissected: Dissected,
    pub samples: live::Stats,
    pub malformed_samples: u64,
    pub clock_steps: u64,
    /// Verdicts on flows that the kernel's sampling did not take.
    pub verdict_errors: u64,
    pub programs: Vec<ProgramStats>,
    /// By name of the output.
    pub outputs: BTreeMap<&'static str, Output>,
    pub reload: Reload,
    pub guard: Guard,
    pub lists: ListCounts,
    /// The kill switch is on.
    pub pass_all: bool,
    /// The data plane stays when this process ends.
    pub pinned: bool,
    /// What this process has taken over from one before.
    pub takeover: Option<Takeover>,
}

/// Entries of the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListCounts {
    pub allow: u64,
    pub block: u64,
    /// Entries that would not outlive the sensor, for lack of room beside the pinned data plane.
    pub unremembered: u64,
}

/// What was counted on one device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Device {
    /// Where XDP runs, while it is attached.
    pub mode: Option<XdpMode>,
    /// Not a device to wait for: it has another name now.
    pub renamed: bool,
    /// Mirror port: what the programs drop, they drop for that reason.
    pub tap: bool,
    pub ingress: Flowed,
    pub egress: Flowed,
    /// Flow table entries of the last closed generation, both directions.
    pub entries: u32,
    /// Absolute differences of the law of accounting, summed.
    pub error_packets: u64,
}

/// Sums of one device and direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flowed {
    pub totals: Totals,
    /// Packets and bytes of flow records by protocol class; what overflowed is in `totals`.
    pub packets: [u64; 6],
    pub bytes: [u64; 6],
}

/// What became of the events of one output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output {
    pub events: u64,
    pub dropped_queue_full: u64,
    pub dropped_write_error: u64,
}

/// What the SYN-flood guard thinks and has done, of all destinations together.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    pub mode: &'static str,
    /// Destinations by state.
    pub states: [u64; 3],
    pub counted: DestinationCounters,
    pub stats: guard::Stats,
    /// Times that the kernel refused what the guard wanted.
    pub errors: u64,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            mode: guard::Mode::Off.as_str(),
            states: [0; 3],
            counted: DestinationCounters::default(),
            stats: guard::Stats::default(),
            errors: 0,
        }
    }
}

/// The last reload of the configuration; the start counts as one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reload {
    pub failed: bool,
    /// When the configuration in force was loaded.
    pub loaded: Timestamp,
}

impl Snapshot {
    /// Adds a closed generation's share.
    pub fn add_generation(&mut self, devices: &[DeviceTotals]) {
        for device in self.devices.values_mut() {
            device.entries = 0;
        }
        for closed in devices {
            let device = self.devices.entry(closed.device.clone()).or_default();
            let flowed = match closed.direction {
                Direction::Ingress => &mut device.ingress,
                Direction::Egress => &mut device.egress,
            };
            add_totals(&mut flowed.totals, &closed.totals);
            add_each(&mut flowed.packets, &closed.flows.packets);
            add_each(&mut flowed.bytes, &closed.flows.bytes);
            device.entries += closed.flows.entries;
            device.error_packets += closed.difference;
        }
    }
}

/// Every field of [`Totals`] is a `u64`, or several.
const TERMS: usize = size_of::<Totals>() / size_of::<u64>();

fn add_totals(sums: &mut Totals, values: &Totals) {
    let sums: &mut [u64; TERMS] = zerocopy::transmute_mut!(sums);
    add_each(sums, zerocopy::transmute_ref!(values));
}

fn add_each<const N: usize>(sums: &mut [u64; N], values: &[u64; N]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

#[cfg(test)]
mod tests {
    use sensor_ebpf::abi::PROTOCOL_CLASSES;

    use super::*;
    use crate::{bpf::FlowSums, metrics::Exporter};

    /// By class, each number once.
    const FLOWS: [u64; 6] = [1, 2, 3, 4, 5, 6];
    const OVERFLOW: [u64; 6] = [10, 20, 30, 40, 50, 60];
    const SUPPRESSED: [u64; 6] = [100, 200, 300, 400, 500, 600];

    /// Packets are as above, bytes a thousand times as many.
    fn generation(direction: Direction) -> DeviceTotals {
        let bytes = |packets: [u64; 6]| packets.map(|packets| 1000 * packets);
        DeviceTotals {
            device: "eth0".to_owned(),
            ifindex: 1,
            direction,
            totals: Totals {
                overflow: OVERFLOW,
                overflow_bytes: bytes(OVERFLOW),
                suppressed: SUPPRESSED,
                suppressed_bytes: bytes(SUPPRESSED),
                non_ip: 7,
                non_ip_bytes: 7000,
                ..Totals::default()
            },
            flows: FlowSums {
                entries: 1,
                packets: FLOWS,
                bytes: bytes(FLOWS),
            },
            difference: 0,
            difference_total: 0,
        }
    }

    #[test]
    fn packets_and_bytes_of_a_protocol_are_those_in_the_flow_table_and_outside() {
        let exporter = Exporter::new().expect("metrics");
        let mut snapshot = Snapshot::default();
        let generations = [Direction::Ingress, Direction::Egress].map(generation);
        snapshot.add_generation(&generations);
        exporter.publish(snapshot);
        let text = exporter.text().expect("metrics");
        for direction in ["ingress", "egress"] {
            let sums = [111, 222, 333, 444, 555, 666];
            let expected = PROTOCOL_CLASSES.iter().zip(sums);
            for (protocol, packets) in expected.chain([(&"non_ip", 7)]) {
                let labels =
                    format!("device=\"eth0\",direction=\"{direction}\",protocol=\"{protocol}\"");
                for line in [
                    format!("sensor_packets_total{{{labels}}} {packets}"),
                    format!("sensor_bytes_total{{{labels}}} {packets}000"),
                ] {
                    assert!(text.lines().any(|found| found == line), "{line}\n{text}");
                }
            }
        }
    }
}
