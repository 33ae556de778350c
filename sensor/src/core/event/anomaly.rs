//! Something that breaks a protocol's rules.

use schemars::JsonSchema;
use serde::Serialize;

/// EVE's names where it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Anomaly {
    /// Protocol whose parser complains, for [`AnomalyKind::Applayer`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_proto: Option<&'static str>,
    #[serde(rename = "type")]
    pub kind: AnomalyKind,
    pub event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<Layer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnomalyKind {
    Decode,
    Stream,
    Applayer,
}

/// Which stage of application protocol handling complains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    ProtoDetect,
    ProtoParser,
}
