//! From the table to the text that Prometheus reads.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, Registry, TextEncoder,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::{Snapshot, process::BATCH, table};

/// Bounds of the batch histogram: 16 µs to 0.5 s in factors of two.
const BATCH_BUCKETS: (f64, f64, usize) = (0.000_016, 2.0, 16);

/// Shared between the live loop, which puts snapshots in, and the web server, which reads.
#[derive(Clone, Debug)]
pub struct Exporter {
    snapshot: Arc<Mutex<Arc<Snapshot>>>,
    registry: Registry,
    batches: Batches,
}

/// Takes one observation for each batch of samples.
#[derive(Clone, Debug)]
pub struct Batches(Histogram);

impl Batches {
    pub fn observe(&self, duration: std::time::Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

impl Exporter {
    /// An exporter of the empty snapshot.
    ///
    /// # Errors
    /// If two metrics have one name, which a test rules out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let snapshot = Arc::new(Mutex::new(Arc::new(Snapshot::default())));
        let registry = Registry::new();
        let (start, factor, count) = BATCH_BUCKETS;
        let buckets = prometheus::exponential_buckets(start, factor, count)?;
        let batches =
            Histogram::with_opts(HistogramOpts::new(BATCH.name, BATCH.help).buckets(buckets))?;
        registry.register(Box::new(batches.clone()))?;
        registry.register(Box::new(SnapshotCollector::new(snapshot.clone())?))?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        Ok(Self {
            snapshot,
            registry,
            batches: Batches(batches),
        })
    }

    /// Makes `snapshot` what the next scrape shows.
    pub fn publish(&self, snapshot: Snapshot) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }

    /// What the next scrape would show.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        current(&self.snapshot)
    }

    #[must_use]
    pub fn batches(&self) -> Batches {
        self.batches.clone()
    }

    /// All metrics in the Prometheus text format.
    ///
    /// # Errors
    /// If the encoder refuses a family.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn current(snapshot: &Mutex<Arc<Snapshot>>) -> Arc<Snapshot> {
    snapshot
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Reads the snapshot when scraped, rather than mirroring it into metric objects.
struct SnapshotCollector {
    snapshot: Arc<Mutex<Arc<Snapshot>>>,
    descriptions: Vec<Desc>,
}

impl SnapshotCollector {
    fn new(snapshot: Arc<Mutex<Arc<Snapshot>>>) -> Result<Self, prometheus::Error> {
        let descriptions = table()
            .filter(|metric| metric.read.is_some())
            .map(|metric| {
                let labels = metric
                    .labels
                    .iter()
                    .map(|label| label.name.to_owned())
                    .collect();
                let constant = std::collections::HashMap::new();
                Desc::new(
                    metric.name.to_owned(),
                    metric.help.to_owned(),
                    labels,
                    constant,
                )
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            snapshot,
            descriptions,
        })
    }
}

impl Collector for SnapshotCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let snapshot = current(&self.snapshot);
        table()
            .filter_map(|metric| metric.family(&snapshot))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        bpf::XdpMode,
        metrics::{Device, Values},
    };

    fn filled() -> Snapshot {
        let mut snapshot = Snapshot {
            flow_capacity: 1024,
            ..Snapshot::default()
        };
        let device = Device {
            mode: Some(XdpMode::Native),
            ..Device::default()
        };
        snapshot.devices.insert("eth0".to_owned(), device);
        snapshot
    }

    /// The table's part of a scrape of a sensor with one device.
    #[test]
    fn every_metric_exists_from_the_start_with_its_labels() {
        let exporter = Exporter::new().unwrap();
        exporter.publish(filled());
        let text = exporter.text().unwrap();
        for metric in table().filter(|metric| metric.labels.iter().all(|l| l.name != "program")) {
            assert!(text.contains(&format!("# TYPE {} {}", metric.name, metric.kind.as_str())));
            for label in metric.labels {
                let Values::OneOf(values) = label.values else {
                    continue;
                };
                // Only the one in force is shown.
                if label.name == "mode" {
                    continue;
                }
                for value in values {
                    let pair = format!("{}=\"{value}\"", label.name);
                    let found = text.lines().any(|line| {
                        line.starts_with(&format!("{}{{", metric.name)) && line.contains(&pair)
                    });
                    assert!(found, "{} lacks {pair}", metric.name);
                }
            }
        }
    }

    #[test]
    fn label_values_stay_within_their_lists() {
        let snapshot = filled();
        for metric in table() {
            let Some(family) = metric.family(&snapshot) else {
                continue;
            };
            for sample in family.get_metric() {
                assert_eq!(
                    sample.get_label().len(),
                    metric.labels.len(),
                    "{}",
                    metric.name
                );
                for (label, pair) in metric.labels.iter().zip(sample.get_label()) {
                    assert_eq!(label.name, pair.name());
                    if let Values::OneOf(values) = label.values {
                        assert!(
                            values.contains(&pair.value()),
                            "{}: {}",
                            metric.name,
                            pair.value()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let mut names = BTreeSet::new();
        for metric in table() {
            assert!(names.insert(metric.name), "{} twice", metric.name);
            assert!(metric.name.starts_with("sensor_"), "{}", metric.name);
            let is_counter = metric.kind == crate::metrics::Kind::Counter;
            assert_eq!(
                metric.name.ends_with("_total"),
                is_counter,
                "{}",
                metric.name
            );
            assert!(
                metric.help.ends_with('.'),
                "{}: {}",
                metric.name,
                metric.help
            );
        }
    }
}
