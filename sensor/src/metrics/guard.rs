//! Metrics of the SYN-flood guard. What it does to single packets is in the verdicts' metrics, by
//! device; its own counters are by destination, and summed here over all of them.

use sensor_ebpf::abi::DestinationCounters;

use super::{
    Snapshot,
    metric::{DEVICE, Kind, Label, Metric, Samples, Values},
};
use crate::guard::STATES;

const MODES: &[&str] = &["off", "monitor", "mitigate"];

const STATE: Label = Label {
    name: "state",
    values: Values::OneOf(&STATES),
};

/// What became of SYNs to watched destinations: every one is counted under one of these.
const OUTCOMES: [&str; 6] = [
    "passed",
    "cookie",
    "first_dropped",
    "source_limited",
    "destination_limited",
    "synack_limited",
];

const fn outcomes(counted: &DestinationCounters) -> [u64; 6] {
    [
        counted.passed,
        counted.cookies,
        counted.first_dropped,
        counted.source_limited,
        counted.destination_limited,
        counted.synack_limited,
    ]
}

/// Why, and what came of it.
const DETAILS: [&str; 10] = [
    "completed",
    "cookie_admitted",
    "cookie_no_listener",
    "cookie_queue_open",
    "cookie_ineligible",
    "retransmission_admitted",
    "known_admitted",
    "lapsed",
    "out_of_state",
    "would_take",
];

const fn details(counted: &DestinationCounters) -> [u64; 10] {
    [
        counted.completed,
        counted.cookie_admitted,
        counted.cookie_no_listener,
        counted.cookie_queue_open,
        counted.cookie_ineligible,
        counted.retransmission_admitted,
        counted.known_admitted,
        counted.lapsed,
        counted.out_of_state,
        counted.would_take,
    ]
}

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "sensor_syn_guard_destinations",
        kind: Kind::Gauge,
        help: "Destinations (an address and a TCP port) that the SYN-flood guard watches, by \
               state; alert: flooded; mitigating: flooded and defended. They belong to no \
               interface: the guard watches each on all of them, so every interface shows them \
               all.",
        labels: &[DEVICE, STATE],
        read: Some(|snapshot, out| {
            for name in snapshot.devices.keys() {
                for (state, count) in STATES.iter().zip(snapshot.guard.states) {
                    out.add(&[name, state], count);
                }
            }
        }),
    },
    Metric {
        name: "sensor_syn_guard_mode",
        kind: Kind::Gauge,
        help: "1 for the mode that the SYN-flood guard is in, 0 for the others.",
        labels: &[Label {
            name: "mode",
            values: Values::OneOf(MODES),
        }],
        read: Some(|snapshot, out| {
            for mode in MODES {
                out.add(&[mode], u64::from(*mode == snapshot.guard.mode));
            }
        }),
    },
    Metric {
        name: "sensor_syn_guard_syns_total",
        kind: Kind::Counter,
        help: "SYNs to destinations that the SYN-flood guard watches, by what became of them; \
               cookie: answered by a SYN cookie; first_dropped: dropped until the client sends \
               it again; the limits: dropped.",
        labels: &[Label {
            name: "outcome",
            values: Values::OneOf(&OUTCOMES),
        }],
        read: Some(|snapshot, out| each(snapshot, out, &OUTCOMES, outcomes)),
    },
    Metric {
        name: "sensor_syn_guard_details_total",
        kind: Kind::Counter,
        help: "What the SYN-flood guard met at the destinations that it watches; completed: \
               handshakes, of which cookie_admitted came through a cookie; cookie_no_listener, \
               cookie_queue_open, cookie_ineligible: SYNs that no cookie could or had to answer; \
               retransmission_admitted, known_admitted: SYNs that passed because their client \
               had proved itself; lapsed: SYNs that passed because nobody had judged for too \
               long; out_of_state: segments dropped that belong to no connection; would_take: \
               what monitor mode would have dropped or answered, at most: of a SYN that a cookie \
               could answer it does not ask the kernel whether the listener's queue has room.",
        labels: &[Label {
            name: "kind",
            values: Values::OneOf(&DETAILS),
        }],
        read: Some(|snapshot, out| each(snapshot, out, &DETAILS, details)),
    },
    Metric {
        name: "sensor_syn_guard_changes_total",
        kind: Kind::Counter,
        help: "Changes of a destination's state, by the new one; each is an alert, too.",
        labels: &[STATE],
        read: Some(|snapshot, out| {
            for (state, count) in STATES.iter().zip(snapshot.guard.stats.turns) {
                out.add(&[state], count);
            }
        }),
    },
    Metric {
        name: "sensor_syn_guard_unwatched_total",
        kind: Kind::Counter,
        help: "Destinations with many SYNs that the SYN-flood guard does not watch for want of \
               room; refused: there was none; displaced: a quiet one made room for a busier one.",
        labels: &[Label {
            name: "reason",
            values: Values::OneOf(&["refused", "displaced"]),
        }],
        read: Some(|snapshot, out| {
            out.add(&["refused"], snapshot.guard.stats.refused);
            out.add(&["displaced"], snapshot.guard.stats.displaced);
        }),
    },
    Metric {
        name: "sensor_syn_guard_errors_total",
        kind: Kind::Counter,
        help: "Times that the kernel refused what the SYN-flood guard asked of it; each is tried \
               again.",
        labels: &[],
        read: Some(|snapshot, out| out.add(&[], snapshot.guard.errors)),
    },
];

fn each<const N: usize>(
    snapshot: &Snapshot,
    out: &mut Samples,
    names: &[&str; N],
    counters: fn(&DestinationCounters) -> [u64; N],
) {
    for (name, count) in names.iter().zip(counters(&snapshot.guard.counted)) {
        out.add(&[name], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Device, Exporter};

    #[test]
    fn states_and_outcomes_are_shown() {
        let exporter = Exporter::new().unwrap();
        let mut snapshot = Snapshot::default();
        snapshot
            .devices
            .insert("eth0".to_owned(), Device::default());
        snapshot.guard.mode = "mitigate";
        snapshot.guard.states = [3, 0, 1];
        snapshot.guard.counted = DestinationCounters {
            syn: 12,
            passed: 2,
            cookies: 10,
            completed: 1,
            ..DestinationCounters::default()
        };
        exporter.publish(snapshot);
        let text = exporter.text().unwrap();
        for line in [
            "sensor_syn_guard_destinations{device=\"eth0\",state=\"normal\"} 3",
            "sensor_syn_guard_destinations{device=\"eth0\",state=\"alert\"} 0",
            "sensor_syn_guard_destinations{device=\"eth0\",state=\"mitigating\"} 1",
            "sensor_syn_guard_mode{mode=\"mitigate\"} 1",
            "sensor_syn_guard_mode{mode=\"monitor\"} 0",
            "sensor_syn_guard_syns_total{outcome=\"cookie\"} 10",
            "sensor_syn_guard_syns_total{outcome=\"passed\"} 2",
            "sensor_syn_guard_details_total{kind=\"completed\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
