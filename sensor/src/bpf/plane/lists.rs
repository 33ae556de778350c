//! The allow and block lists of a running data plane, and its kill switch.

use sensor_ebpf::abi::{ListHits, mode};

use super::{DataPlane, failed};
use crate::{
    bpf::PlaneError,
    lists::{Compiled, Entry, Record, Remains},
};

impl DataPlane {
    /// Puts allow and block lists into force. Every flow is judged anew.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses a part: what it took is in force, and the next call
    /// makes good the rest.
    pub fn set_lists(&mut self, lists: Compiled) -> Result<(), PlaneError> {
        let is_empty = lists.is_empty();
        let maps = &mut self.loaded.lists;
        let installed = maps.install(lists);
        // Also after a failure: what was changed has to be heeded.
        let generation = maps.next_generation();
        self.settings.lists_generation = if is_empty && installed.is_ok() {
            0
        } else {
            generation
        };
        let written = self.settings_changed();
        installed.and(written).map_err(failed("lists"))
    }

    /// Zeroes counters of hits that are given to other entries, before these are put into force.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses one; some may be zeroed.
    pub(crate) fn zero_list_hits(&mut self, counters: &[u32]) -> Result<(), PlaneError> {
        let zeroed = self.loaded.lists.zero(counters);
        zeroed.map_err(failed("hits of the lists"))
    }

    /// What an earlier process has left of its lists beside the pinned data plane. The next call
    /// gives nothing.
    pub(crate) fn take_list_remains(&mut self) -> Remains {
        std::mem::take(&mut self.loaded.lists.remains)
    }

    /// Remembers entries for the next process, in the place of those before; without pinning there
    /// is none. Of too many the first are remembered; returns how many there was no room for.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses one.
    pub(crate) fn remember_lists(
        &mut self,
        records: &[(u32, Record)],
    ) -> Result<usize, PlaneError> {
        let remembered = self.loaded.lists.remember(records);
        remembered.map_err(failed("records of the lists"))
    }

    /// What an entry of the lists has decided over.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses to tell.
    pub fn list_hits(&self, entry: &Entry) -> Result<ListHits, PlaneError> {
        let hits = self.loaded.lists.hits(entry.hits);
        hits.map_err(failed("hits of the lists"))
    }

    /// The kill switch: with `pass`, neither lists nor guard are asked and every frame passes,
    /// also on a mirror port. Counting goes on.
    ///
    /// # Errors
    /// [`PlaneError`] if the kernel refuses the update.
    pub fn set_pass_all(&mut self, pass: bool) -> Result<(), PlaneError> {
        self.change_settings(|settings| {
            if pass {
                settings.mode |= mode::PASS_ALL;
            } else {
                settings.mode &= !mode::PASS_ALL;
            }
        })
    }
}
