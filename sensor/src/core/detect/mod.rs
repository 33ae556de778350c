//! Detectors: kernel counters or buffers in, alerts out. Each is sans-IO like the engine and
//! knows nothing of it.

pub mod syn_flood;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Generator id of the sensor's own detectors; Suricata's rules have 1.
pub const GENERATOR: u32 = 19_100;

/// The section `[detect]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DetectConfig {
    pub syn_flood: syn_flood::Config,
}

/// The detector that raises alerts with this signature.
#[must_use]
pub const fn detector_of(signature_id: u32) -> &'static str {
    match signature_id {
        syn_flood::Signature::FIRST..=syn_flood::Signature::LAST => "syn_flood",
        _ => "other",
    }
}
