//! Metrics of the sensor itself: build, outputs, configuration, work.

use super::metric::{Kind, Label, Metric, Values};

const OUTPUTS: [&str; 2] = ["eve_file", "eve_stdout"];

const OUTPUT: Label = Label {
    name: "output",
    values: Values::OneOf(&OUTPUTS),
};

/// The only histogram: observed by the live loop, not read from a snapshot.
pub(super) const BATCH: Metric = Metric {
    name: "sensor_batch_processing_seconds",
    kind: Kind::Histogram,
    help: "Time to dissect one batch of samples, one observation a batch.",
    labels: &[],
    read: None,
};

/// The commit that was built, if the build was told.
pub(super) const REVISION: &str = match option_env!("SENSOR_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "sensor_build_info",
        kind: Kind::Gauge,
        help: "1, with version and revision of the running sensor.",
        labels: &[
            Label {
                name: "version",
                values: Values::Bounded("the release"),
            },
            Label {
                name: "revision",
                values: Values::Bounded("the commit, or unknown"),
            },
        ],
        read: Some(|_, out| out.add(&[env!("CARGO_PKG_VERSION"), REVISION], 1)),
    },
    Metric {
        name: "sensor_output_events_total",
        kind: Kind::Counter,
        help: "Events that an output has taken and written.",
        labels: &[OUTPUT],
        read: Some(|snapshot, out| {
            for name in OUTPUTS {
                let output = snapshot.outputs.get(name).copied().unwrap_or_default();
                out.add(&[name], output.events);
            }
        }),
    },
    Metric {
        name: "sensor_output_dropped_events_total",
        kind: Kind::Counter,
        help: "Events that an output lost; queue_full: it did not keep up; write_error: the file \
               or pipe refused.",
        labels: &[
            OUTPUT,
            Label {
                name: "reason",
                values: Values::OneOf(&["queue_full", "write_error"]),
            },
        ],
        read: Some(|snapshot, out| {
            for name in OUTPUTS {
                let output = snapshot.outputs.get(name).copied().unwrap_or_default();
                out.add(&[name, "queue_full"], output.dropped_queue_full);
                out.add(&[name, "write_error"], output.dropped_write_error);
            }
        }),
    },
    BATCH,
    Metric {
        name: "sensor_clock_steps_total",
        kind: Kind::Counter,
        help: "Steps of the system's clock that the event times followed.",
        labels: &[],
        read: Some(|snapshot, out| out.add(&[], snapshot.clock_steps)),
    },
    Metric {
        name: "sensor_pinned",
        kind: Kind::Gauge,
        help: "1 if the data plane stays at work when the sensor ends.",
        labels: &[],
        read: Some(|snapshot, out| out.add(&[], u64::from(snapshot.pinned))),
    },
    Metric {
        name: "sensor_restart_unattended_seconds",
        kind: Kind::Gauge,
        help: "For how long the pinned data plane had no daemon before this one took it over, in \
               whole seconds; 0 if there was none.",
        labels: &[],
        read: Some(|snapshot, out| {
            let taken = snapshot.takeover.map(|taken| taken.unattended.as_secs());
            out.add(&[], taken.unwrap_or(0));
        }),
    },
    Metric {
        name: "sensor_restart_untold_packets",
        kind: Kind::Gauge,
        help: "Packets of flows that the daemon before had read from the kernel and written in \
               no event when it ended; 0 if it had time to.",
        labels: &[],
        read: Some(|snapshot, out| {
            let taken = snapshot.takeover.map(|taken| taken.untold_packets);
            out.add(&[], taken.unwrap_or(0));
        }),
    },
    Metric {
        name: "sensor_restart_lost_packets",
        kind: Kind::Gauge,
        help: "Packets that were counted by a version whose records this one cannot read: they \
               are in no flow.",
        labels: &[],
        read: Some(|snapshot, out| {
            let taken = snapshot.takeover.map(|taken| taken.lost_packets);
            out.add(&[], taken.unwrap_or(0));
        }),
    },
    Metric {
        name: "sensor_restart_lost_sample_rings",
        kind: Kind::Gauge,
        help: "Sample rings of an earlier version's data plane, or of one with other sizes, that \
               could not be opened at the take-over: the samples in them are lost.",
        labels: &[],
        read: Some(|snapshot, out| {
            let taken = snapshot.takeover.map(|taken| taken.lost_rings);
            out.add(&[], taken.unwrap_or(0));
        }),
    },
    Metric {
        name: "sensor_config_last_reload_successful",
        kind: Kind::Gauge,
        help: "0 if the last reload was refused, or a part of it: what was refused is as it was before.",
        labels: &[],
        read: Some(|snapshot, out| out.add(&[], u64::from(!snapshot.reload.failed))),
    },
    Metric {
        name: "sensor_config_last_reload_success_timestamp_seconds",
        kind: Kind::Gauge,
        help: "When a configuration was last loaded of which nothing was refused, Unix time.",
        labels: &[],
        read: Some(|snapshot, out| out.add(&[], snapshot.reload.loaded.0 / 1_000_000_000)),
    },
];
