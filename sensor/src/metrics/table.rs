//! The table of all metrics.

use super::{engine, guard, kernel, metric::Metric, process};

/// All metrics of the sensor, those of the process excepted.
pub fn table() -> impl Iterator<Item = &'static Metric> {
    kernel::METRICS
        .iter()
        .chain(guard::METRICS)
        .chain(engine::METRICS)
        .chain(process::METRICS)
}
