//! A detector's or a rule's verdict.

use schemars::JsonSchema;
use serde::Serialize;

use super::text::Text;

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Alert {
    pub action: Action,
    pub gid: u32,
    pub signature_id: u32,
    pub rev: u32,
    pub signature: Text,
    pub category: Text,
    /// 1 is the gravest.
    pub severity: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Allowed,
    Blocked,
}
