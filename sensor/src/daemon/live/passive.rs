//! What a passive sensor does not do, told where it is asked for.

use super::Live;
use crate::config::Config;

/// Puts what is in force into the place of what is configured.
pub(super) fn restrict(config: &mut Config) {
    let in_force = config.guard_mode();
    if config.guard.mode != in_force {
        tracing::info!(
            configured = config.guard.mode.as_str(),
            "The SYN-flood guard is off in passive mode: it sees no SYN there; the detector in the \
             flow records tells of floods"
        );
        config.guard.mode = in_force;
    }
}

impl Live {
    /// Says so if packets are listed that nothing stops.
    pub(super) fn tell_unenforced(&self) {
        let entries = self.snapshot.lists.block;
        if entries == 0 {
            return;
        }
        if let Err(reason) = self.check_enforced() {
            tracing::warn!(entries, "The block list is {reason}");
        }
    }

    /// Refuses what would list packets to be dropped where nothing is.
    pub(super) fn check_enforced(&self) -> Result<(), String> {
        if !self.config.is_passive() {
            return Ok(());
        }
        let devices = self.config.interfaces.join(", ");
        Err(format!(
            "not enforced on {devices}: passive, every packet passes (restart with another \
             `--mode`)"
        ))
    }
}
