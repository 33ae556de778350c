//! Settings of a running data plane.

use std::io;

use sensor_ebpf::{
    abi::{FilterPrefix, FlowKey, Settings, mode},
    sampling::{State, Verdict},
};

use super::{DataPlane, failed};
use crate::bpf::{PlaneError, load::Loaded};

impl DataPlane {
    /// Puts new settings of the sampling into force, without detaching. What attachments, guard,
    /// lists and kill switch own of the settings is kept, whatever `settings` says.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses the update.
    pub fn apply(&mut self, settings: &Settings) -> Result<(), PlaneError> {
        let ours = mode::TAP | mode::PASS_ALL;
        self.change_settings(|in_force| {
            *in_force = Settings {
                mode: settings.mode & !ours | in_force.mode & ours,
                lists_generation: in_force.lists_generation,
                guard: in_force.guard,
                destinations: in_force.destinations,
                ..*settings
            };
        })
    }

    /// Changes the settings. What is refused comes into force with no later change either.
    pub(super) fn change_settings(
        &mut self,
        change: impl FnOnce(&mut Settings),
    ) -> Result<(), PlaneError> {
        let before = self.settings;
        change(&mut self.settings);
        let changed = self.settings_changed();
        if changed.is_err() {
            self.settings = before;
        }
        changed.map_err(failed("settings"))
    }

    /// Puts `settings` into force.
    pub(in crate::bpf) fn settings_changed(&self) -> io::Result<()> {
        // Before the first device is attached, programs that were taken over go on as they were.
        let tap = if self.attached.is_empty() {
            self.settings.mode & mode::TAP != 0
        } else {
            self.attached.iter().any(|attached| attached.attachment.tap)
        };
        self.write_settings(tap)
    }

    /// Replaces the sampling filters, of which [`mode::FILTER_ADDRESSES`] and
    /// [`mode::FILTER_PORTS`] switch on the use.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses an entry, as it does when there are too many.
    pub fn set_filters(
        &mut self,
        addresses: &[FilterPrefix],
        ports: &[u16],
    ) -> Result<(), PlaneError> {
        let Loaded {
            filter_addresses,
            filter_ports,
            ..
        } = &mut self.loaded;
        filter_addresses
            .replace(addresses)
            .map_err(failed("address filter"))?;
        filter_ports.replace(ports).map_err(failed("port filter"))
    }

    /// Tells the sampling what is wanted of one flow direction, until it is told otherwise or the
    /// flow is forgotten. A flow that is sampled learns of it at its next sample, any other in the
    /// next generation.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses the update.
    pub fn set_verdict(&mut self, key: &FlowKey, verdict: Verdict) -> Result<(), PlaneError> {
        self.loaded
            .flow_state
            .set(key, &State::of(verdict).0)
            .map_err(failed("sampling verdict"))
    }

    pub(super) fn write_settings(&self, tap: bool) -> io::Result<()> {
        let mut settings = self.settings;
        settings.mode &= !mode::TAP;
        if tap {
            settings.mode |= mode::TAP;
        }
        self.loaded.settings.set(0, &settings)
    }
}
