//! Configuration of the outputs.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Outputs of events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutputSettings {
    pub eve: EveSettings,
}

/// EVE JSON Lines in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EveSettings {
    /// The file; none switches it off. SIGHUP opens it anew.
    pub file: Option<PathBuf>,
    /// A new file is begun at this size, bytes; 0 for never.
    pub rotate_bytes: u64,
    /// A new file is begun at this age, seconds; 0 for never.
    pub rotate_seconds: u64,
    /// Old files that are kept: `FILE.1` is the youngest.
    pub keep: u32,
    /// Events that may wait for the disk; what comes beyond is dropped and counted.
    pub queue: u32,
}

impl Default for EveSettings {
    fn default() -> Self {
        Self {
            file: None,
            rotate_bytes: 1 << 30,
            rotate_seconds: 0,
            keep: 4,
            queue: 65_536,
        }
    }
}
