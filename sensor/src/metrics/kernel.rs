//! Metrics of the data plane: what the kernel counted.

use sensor_ebpf::abi::{DROP_REASONS, PROTOCOL_CLASSES, UNPARSED_REASONS};

use crate::bpf::UNKNOWN_DEVICE;

use super::{
    Device, Flowed, Snapshot,
    metric::{DEVICE, Kind, Label, Metric, Samples, Values},
};

const ACTIONS: &[&str] = &["pass", "drop", "tx"];
const DIRECTIONS: [&str; 2] = ["ingress", "egress"];
const PROTOCOLS: &[&str] = &["tcp", "udp", "icmp", "icmpv6", "sctp", "other_ip", "non_ip"];
/// In the order of `SampleLoss`.
const SAMPLE_LOSSES: [&str; 4] = ["budget", "ring_full", "unreadable", "no_ring"];

const ACTION: Label = Label {
    name: "action",
    values: Values::OneOf(ACTIONS),
};
const DIRECTION: Label = Label {
    name: "direction",
    values: Values::OneOf(&DIRECTIONS),
};
const PROTOCOL: Label = Label {
    name: "protocol",
    values: Values::OneOf(PROTOCOLS),
};
const PROGRAM: Label = Label {
    name: "program",
    values: Values::Bounded("name of a program of the BPF object"),
};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "sensor_xdp_attach_info",
        kind: Kind::Gauge,
        help: "1 for each attached interface, with the mode in which XDP runs there; \
               generic mode runs after GRO and counts too few packets; passive: none, a \
               classifier counts what an XDP program of somebody else lets through.",
        labels: &[
            DEVICE,
            Label {
                name: "mode",
                values: Values::OneOf(&["native", "generic", "passive"]),
            },
        ],
        read: Some(|snapshot, out| {
            for (name, device) in &snapshot.devices {
                if let Some(mode) = device.mode {
                    out.add(&[name, mode.as_str()], 1);
                }
            }
        }),
    },
    Metric {
        name: "sensor_device_up",
        kind: Kind::Gauge,
        help: "1 while the interface is attached, 0 while it is gone and waited for.",
        labels: &[DEVICE],
        read: Some(|snapshot, out| {
            for (name, device) in &snapshot.devices {
                if !device.renamed && name != UNKNOWN_DEVICE {
                    out.add(&[name], u64::from(device.mode.is_some()));
                }
            }
        }),
    },
    Metric {
        name: "sensor_xdp_packets_total",
        kind: Kind::Counter,
        help: "Packets received, by the XDP program's verdict; in passive mode all that another \
               XDP program has let through, which pass.",
        labels: &[DEVICE, ACTION],
        read: Some(|snapshot, out| {
            for (name, device) in &snapshot.devices {
                let totals = &device.ingress.totals;
                out.add(&[name, "pass"], totals.passed());
                out.add(&[name, "drop"], totals.dropped);
                out.add(&[name, "tx"], totals.transmitted);
            }
        }),
    },
    Metric {
        name: "sensor_xdp_bytes_total",
        kind: Kind::Counter,
        help: "Frame bytes (without FCS) received, by the XDP program's verdict.",
        labels: &[DEVICE, ACTION],
        read: Some(|snapshot, out| {
            for (name, device) in &snapshot.devices {
                let totals = &device.ingress.totals;
                out.add(&[name, "pass"], totals.passed_bytes());
                out.add(&[name, "drop"], totals.dropped_bytes);
                out.add(&[name, "tx"], totals.transmitted_bytes);
            }
        }),
    },
    Metric {
        name: "sensor_xdp_dropped_packets_total",
        kind: Kind::Counter,
        help: "Packets that the XDP program dropped, by reason; tap: the interface is a mirror \
               port, where every frame is dropped once it is counted; block_...: the block list; \
               the rest: the SYN-flood guard.",
        labels: &[
            DEVICE,
            Label {
                name: "reason",
                values: Values::OneOf(&DROP_REASONS),
            },
        ],
        read: Some(|snapshot, out| {
            for (name, device) in &snapshot.devices {
                for (reason, packets) in DROP_REASONS.iter().zip(device.ingress.totals.dropped_by) {
                    out.add(&[name, reason], packets);
                }
            }
        }),
    },
    Metric {
        name: "sensor_xdp_would_drop_packets_total",
        kind: Kind::Counter,
        help: "Packets that passed and that a dry run, the guard's monitor mode, or the lists on a \
               mirror port would have dropped, by reason.",
        labels: &[
            DEVICE,
            Label {
                name: "reason",
                values: Values::OneOf(&DROP_REASONS),
            },
        ],
        read: Some(|snapshot, out| {
            for (name, device) in &snapshot.devices {
                for (reason, packets) in DROP_REASONS.iter().zip(device.ingress.totals.would_drop) {
                    out.add(&[name, reason], packets);
                }
            }
        }),
    },
    Metric {
        name: "sensor_list_entries",
        kind: Kind::Gauge,
        help: "Entries of the allow and the block list, from commands, configuration, feeds and \
               detectors.",
        labels: &[Label {
            name: "list",
            values: Values::OneOf(&["allow", "block"]),
        }],
        read: Some(|snapshot, out| {
            out.add(&["allow"], snapshot.lists.allow);
            out.add(&["block"], snapshot.lists.block);
        }),
    },
    Metric {
        name: "sensor_list_unremembered_entries",
        kind: Kind::Gauge,
        help: "Entries of commands and of the configuration that would not outlive the sensor, \
               since there is no room for them beside the pinned data plane, or since the kernel \
               refuses to keep the latest change.",
        labels: &[],
        read: Some(|snapshot, out| out.add(&[], snapshot.lists.unremembered)),
    },
    Metric {
        name: "sensor_pass_all",
        kind: Kind::Gauge,
        help: "1 while the kill switch is on: neither lists nor guard are asked.",
        labels: &[],
        read: Some(|snapshot, out| out.add(&[], u64::from(snapshot.pass_all))),
    },
    Metric {
        name: "sensor_packets_total",
        kind: Kind::Counter,
        help: "Packets counted in the kernel, exact, without those of \
               sensor_unparsed_packets_total. A GSO frame sent counts as its segments.",
        labels: &[DEVICE, DIRECTION, PROTOCOL],
        read: Some(|s, out| by_protocol(s, out, Flowed::packets_of, |flowed| flowed.totals.non_ip)),
    },
    Metric {
        name: "sensor_bytes_total",
        kind: Kind::Counter,
        help: "Frame bytes (without FCS) counted in the kernel, exact.",
        labels: &[DEVICE, DIRECTION, PROTOCOL],
        read: Some(|s, out| {
            by_protocol(s, out, Flowed::bytes_of, |flowed| {
                flowed.totals.non_ip_bytes
            });
        }),
    },
    Metric {
        name: "sensor_unparsed_packets_total",
        kind: Kind::Counter,
        help: "Packets that the kernel's parser gave up on; they pass.",
        labels: &[
            DEVICE,
            Label {
                name: "reason",
                values: Values::OneOf(&UNPARSED_REASONS),
            },
        ],
        read: Some(|snapshot, out| {
            for (name, device) in &snapshot.devices {
                for (index, reason) in UNPARSED_REASONS.iter().enumerate() {
                    let packets = |flowed: &Flowed| flowed.totals.unparsed[index];
                    out.add(
                        &[name, reason],
                        packets(&device.ingress) + packets(&device.egress),
                    );
                }
            }
        }),
    },
    Metric {
        name: "sensor_flow_table_entries",
        kind: Kind::Gauge,
        help: "Entries of this interface in the flow table of the last closed generation.",
        labels: &[DEVICE],
        read: Some(|s, out| per_device(s, out, |device| u64::from(device.entries))),
    },
    Metric {
        name: "sensor_flow_table_capacity",
        kind: Kind::Gauge,
        help: "Entries that the flow table of one generation can hold; all interfaces share it.",
        labels: &[DEVICE],
        read: Some(|s, out| per_device(s, out, |_| u64::from(s.flow_capacity))),
    },
    Metric {
        name: "sensor_flow_table_overflow_packets_total",
        kind: Kind::Counter,
        help: "Packets that found no room in the flow table: counted by protocol, not by flow.",
        labels: &[DEVICE],
        read: Some(|s, out| {
            per_device(s, out, |device| {
                let overflow = |flowed: &Flowed| flowed.totals.overflow.iter().sum::<u64>();
                overflow(&device.ingress) + overflow(&device.egress)
            });
        }),
    },
    Metric {
        name: "sensor_accounting_error_packets",
        kind: Kind::Gauge,
        help: "Sum of the absolute differences between packets seen and packets accounted for, \
               over all closed generations: 0, or the sensor is wrong.",
        labels: &[DEVICE],
        read: Some(|s, out| per_device(s, out, |device| device.error_packets)),
    },
    Metric {
        name: "sensor_sampled_packets_total",
        kind: Kind::Counter,
        help: "Packets whose bytes were written to a sample ring.",
        labels: &[DEVICE],
        read: Some(|s, out| {
            per_device(s, out, |device| {
                device.ingress.totals.sampled + device.egress.totals.sampled
            });
        }),
    },
    Metric {
        name: "sensor_sample_lost_packets_total",
        kind: Kind::Counter,
        help: "Packets that should have been sampled and were not; they are counted all the same.",
        labels: &[
            DEVICE,
            Label {
                name: "reason",
                values: Values::OneOf(&SAMPLE_LOSSES),
            },
        ],
        read: Some(|snapshot, out| {
            for (name, device) in &snapshot.devices {
                for (index, reason) in SAMPLE_LOSSES.iter().enumerate() {
                    let lost = |flowed: &Flowed| flowed.totals.sample_lost[index];
                    out.add(
                        &[name, reason],
                        lost(&device.ingress) + lost(&device.egress),
                    );
                }
            }
        }),
    },
    Metric {
        name: "sensor_syn_packets_total",
        kind: Kind::Counter,
        help: "TCP segments received with SYN and without ACK.",
        labels: &[DEVICE],
        read: Some(|s, out| per_device(s, out, |device| device.ingress.totals.syn)),
    },
    Metric {
        name: "sensor_syncookies_sent_total",
        kind: Kind::Counter,
        help: "SYN-ACKs that the XDP program answered SYNs with.",
        labels: &[DEVICE],
        read: Some(|s, out| per_device(s, out, |device| device.ingress.totals.syncookies)),
    },
    Metric {
        name: "sensor_generations_total",
        kind: Kind::Counter,
        help: "Generations of kernel counters that were closed and read.",
        labels: &[],
        read: Some(|snapshot, out| out.add(&[], snapshot.generations)),
    },
    Metric {
        name: "sensor_generation_errors_total",
        kind: Kind::Counter,
        help: "Attempts to close a generation that failed; the next one reads the same counters.",
        labels: &[],
        read: Some(|snapshot, out| out.add(&[], snapshot.generation_errors)),
    },
    Metric {
        name: "sensor_generation_close_seconds",
        kind: Kind::Gauge,
        help: "How long the last generation took to close and read.",
        labels: &[],
        read: Some(|snapshot, out| out.add_float(&[], snapshot.generation_seconds)),
    },
    Metric {
        name: "sensor_bpf_program_verified_instructions",
        kind: Kind::Gauge,
        help: "Instructions that the verifier walked; 0 where the kernel does not tell.",
        labels: &[PROGRAM],
        read: Some(|snapshot, out| {
            for program in &snapshot.programs {
                out.add(&[program.name], u64::from(program.verified_instructions));
            }
        }),
    },
    Metric {
        name: "sensor_bpf_program_jited_bytes",
        kind: Kind::Gauge,
        help: "Bytes of machine code; 0 if the JIT compiler is off.",
        labels: &[PROGRAM],
        read: Some(|snapshot, out| {
            for program in &snapshot.programs {
                out.add(&[program.name], u64::from(program.jited_bytes));
            }
        }),
    },
];

fn per_device(snapshot: &Snapshot, out: &mut Samples, value: impl Fn(&Device) -> u64) {
    for (name, device) in &snapshot.devices {
        out.add(&[name], value(device));
    }
}

fn by_protocol(
    snapshot: &Snapshot,
    out: &mut Samples,
    of_class: fn(&Flowed, usize) -> u64,
    non_ip: fn(&Flowed) -> u64,
) {
    for (name, device) in &snapshot.devices {
        for (direction, flowed) in DIRECTIONS.iter().zip([&device.ingress, &device.egress]) {
            for (class, protocol) in PROTOCOL_CLASSES.iter().enumerate() {
                out.add(&[name, direction, protocol], of_class(flowed, class));
            }
            out.add(&[name, direction, "non_ip"], non_ip(flowed));
        }
    }
}

impl Flowed {
    fn packets_of(&self, class: usize) -> u64 {
        self.packets[class] + self.totals.overflow[class] + self.totals.suppressed[class]
    }

    fn bytes_of(&self, class: usize) -> u64 {
        self.bytes[class] + self.totals.overflow_bytes[class] + self.totals.suppressed_bytes[class]
    }
}
