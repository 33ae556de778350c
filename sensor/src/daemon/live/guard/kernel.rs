//! The kernel's side of the guard, as the live loop uses it.

use sensor_ebpf::abi::{
    Destination, DestinationCounters, DestinationKey, GuardMode, GuardSettings,
};

use crate::bpf::{DataPlane, PlaneError};

/// What the guard asks of the data plane; tests have a kernel that refuses things.
pub(in crate::daemon::live) trait Kernel {
    fn configure(&mut self, settings: &GuardSettings, mode: GuardMode) -> Result<(), PlaneError>;
    /// What it holds.
    fn held(&self) -> &[(DestinationKey, Destination)];
    fn put(&mut self, key: DestinationKey, destination: Destination) -> Result<(), PlaneError>;
    fn remove(&mut self, key: &DestinationKey) -> Result<(), PlaneError>;
    fn suspects(&mut self) -> Result<Vec<DestinationKey>, PlaneError>;
    /// `None` if it does not hold the destination.
    fn counters(&mut self, key: &DestinationKey)
    -> Result<Option<DestinationCounters>, PlaneError>;
    fn heartbeat(&mut self, now_ns: u64) -> Result<(), PlaneError>;
}

impl Kernel for DataPlane {
    fn configure(&mut self, settings: &GuardSettings, mode: GuardMode) -> Result<(), PlaneError> {
        self.guard_configure(settings, mode)
    }

    fn held(&self) -> &[(DestinationKey, Destination)] {
        self.guard_destinations()
    }

    fn put(&mut self, key: DestinationKey, destination: Destination) -> Result<(), PlaneError> {
        self.guard_put(key, destination).map(drop)
    }

    fn remove(&mut self, key: &DestinationKey) -> Result<(), PlaneError> {
        self.guard_remove(key).map(drop)
    }

    fn suspects(&mut self) -> Result<Vec<DestinationKey>, PlaneError> {
        let suspects = self.guard_suspects()?;
        Ok(suspects.into_iter().map(|(key, _)| key).collect())
    }

    fn counters(
        &mut self,
        key: &DestinationKey,
    ) -> Result<Option<DestinationCounters>, PlaneError> {
        self.guard_counters(key)
    }

    fn heartbeat(&mut self, now_ns: u64) -> Result<(), PlaneError> {
        self.guard_heartbeat(now_ns)
    }
}
