//! The SYN-flood guard of a running data plane.

#[cfg(doc)]
use sensor_ebpf::abi::MAX_DESTINATIONS;
use sensor_ebpf::abi::{
    Destination, DestinationCounters, DestinationKey, GuardMode, GuardSettings,
};

use super::{DataPlane, failed};
use crate::bpf::PlaneError;

impl DataPlane {
    /// Puts the guard's settings and mode into force. What the data plane owns of the settings
    /// (seed, sizes, what cookies may carry) is filled in; the system's part is read anew each
    /// time, from the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses an update.
    pub fn guard_configure(
        &mut self,
        settings: &GuardSettings,
        mode: GuardMode,
    ) -> Result<(), PlaneError> {
        self.loaded
            .guard
            .configure(settings)
            .map_err(failed("guard settings"))?;
        self.change_settings(|settings| settings.guard = mode as u32)
    }

    /// Takes out the destinations that have got many SYNs since the last call, each with the kernel
    /// time (`CLOCK_MONOTONIC`, nanoseconds) at which it was found. Those that are watched already
    /// do not appear.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses to tell.
    pub fn guard_suspects(&mut self) -> Result<Vec<(DestinationKey, u64)>, PlaneError> {
        self.loaded.guard.suspects().map_err(failed("suspects"))
    }

    /// Watches or defends a destination, or changes how. Its slot is assigned here, whatever
    /// `destination` says; the counters of one that is new start at 0. Returns the slot.
    ///
    /// # Errors
    /// [`PlaneError`] if [`MAX_DESTINATIONS`] are watched already, or the kernel refuses the
    /// update.
    pub fn guard_put(
        &mut self,
        key: DestinationKey,
        destination: Destination,
    ) -> Result<u32, PlaneError> {
        let guard = &self.loaded.guard;
        let count = guard.destinations().len() + usize::from(!guard.has(&key));
        // Before it is there: the programs look for none as long as there is none.
        self.expect_destinations(count)?;
        self.loaded
            .guard
            .put(key, destination)
            .map_err(failed("guarded destinations"))
    }

    /// Forgets a destination. Returns whether it was watched.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses the update.
    pub fn guard_remove(&mut self, key: &DestinationKey) -> Result<bool, PlaneError> {
        let removed = self
            .loaded
            .guard
            .remove(key)
            .map_err(failed("guarded destinations"))?;
        self.expect_destinations(self.loaded.guard.destinations().len())?;
        Ok(removed)
    }

    /// The destinations that are watched or defended, in no order.
    #[must_use]
    pub fn guard_destinations(&self) -> &[(DestinationKey, Destination)] {
        self.loaded.guard.destinations()
    }

    /// What was counted of a destination on all CPUs since it was put in; `None` if it is not
    /// watched.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses to tell.
    pub fn guard_counters(
        &mut self,
        key: &DestinationKey,
    ) -> Result<Option<DestinationCounters>, PlaneError> {
        self.loaded
            .guard
            .counters(key)
            .map_err(failed("counters of a guarded destination"))
    }

    /// Tells the programs that user space has just judged, at `now_ns` (`CLOCK_MONOTONIC`).
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses the update.
    pub fn guard_heartbeat(&self, now_ns: u64) -> Result<(), PlaneError> {
        self.loaded.guard.beat(now_ns).map_err(failed("heartbeat"))
    }

    /// The [`GuardMode`] that was asked for last; by the process before, where a data plane was
    /// taken over and this process has not asked yet.
    #[must_use]
    pub const fn guard_mode(&self) -> u32 {
        self.settings.guard
    }

    /// Tells the programs how many destinations there are. One that they look for in vain costs
    /// them time, and nothing else.
    fn expect_destinations(&mut self, count: usize) -> Result<(), PlaneError> {
        let count = count as u32;
        if self.settings.destinations == count {
            return Ok(());
        }
        self.change_settings(|settings| settings.destinations = count)
    }
}
