//! What the SYN-flood guard thinks of a destination, and did for it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::flow::is_false;

/// A change of state; the destination is the event's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Guard {
    /// `monitor` or `mitigate`.
    pub mode: &'static str,
    /// `normal`, `alert` (flooded) or `mitigating` (flooded and defended).
    pub state: &'static str,
    pub previous_state: &'static str,
    /// For how many seconds the previous state lasted.
    pub previous_seconds: u64,
    /// No change: the sensor found the state in the kernel when it started, as an earlier process
    /// left it.
    #[serde(skip_serializing_if = "is_false")]
    pub taken_over: bool,
    /// How the destination is defended, was, or in the mode `monitor` would be: `cookie`,
    /// `retransmission` or `rate`; `watch` below the guard's threshold.
    pub method: &'static str,
    /// Why no cookies are sent where they are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<&'static str>,
    /// What was counted during the previous state, without zeros.
    pub counted: BTreeMap<&'static str, u64>,
}
