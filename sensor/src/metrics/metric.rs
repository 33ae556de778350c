//! What a metric is, and how its samples are made.

use prometheus::proto;

use super::Snapshot;

/// Kind of a metric, as Prometheus knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Values that a label can have.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// Any of these and no other.
    OneOf(&'static [&'static str]),
    /// Bounded by the configuration or the build; the text says by what.
    Bounded(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub struct Label {
    pub name: &'static str,
    pub values: Values,
}

/// The label of everything that is counted per interface.
pub(super) const DEVICE: Label = Label {
    name: "device",
    values: Values::Bounded("name of an attached interface"),
};

/// One metric: what it says, and where its values are.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    pub labels: &'static [Label],
    /// Adds the samples; `None` where another collector provides them.
    pub(super) read: Option<fn(&Snapshot, &mut Samples)>,
}

/// Collects the samples of one metric.
#[derive(Debug)]
pub(super) struct Samples {
    metric: &'static Metric,
    samples: Vec<proto::Metric>,
}

impl Samples {
    /// Adds a sample; `labels` are in the order of the metric's.
    // Counters beyond 2^53 lose their last digits: Prometheus has no other number.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
    pub(super) fn add(&mut self, labels: &[&str], value: u64) {
        self.add_float(labels, value as f64);
    }

    pub(super) fn add_float(&mut self, labels: &[&str], value: f64) {
        let pairs = self.metric.labels.iter().zip(labels).map(|(label, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name(label.name.to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut sample = proto::Metric::from_label(pairs.collect());
        match self.metric.kind {
            Kind::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            }
            Kind::Gauge | Kind::Histogram => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                sample.set_gauge(gauge);
            }
        }
        self.samples.push(sample);
    }
}

impl Metric {
    /// The metric's samples now; `None` if there are none.
    pub(super) fn family(&'static self, snapshot: &Snapshot) -> Option<proto::MetricFamily> {
        let read = self.read?;
        let mut samples = Samples {
            metric: self,
            samples: Vec::new(),
        };
        read(snapshot, &mut samples);
        if samples.samples.is_empty() {
            return None;
        }
        let mut family = proto::MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(match self.kind {
            Kind::Counter => proto::MetricType::COUNTER,
            Kind::Gauge => proto::MetricType::GAUGE,
            Kind::Histogram => proto::MetricType::HISTOGRAM,
        });
        family.set_metric(samples.samples);
        Some(family)
    }
}
