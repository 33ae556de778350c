//! Counters of the sensor itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// `stats.GROUP.COUNTER`, for example `stats.decoder.pkts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Stats {
    /// Seconds since the sensor (or the capture) began.
    pub uptime: u64,
    #[serde(flatten)]
    pub groups: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
}
