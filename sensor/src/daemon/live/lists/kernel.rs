//! The kernel's side of the lists, as the live loop uses it.

use crate::{
    bpf::{DataPlane, PlaneError},
    lists::{Compiled, Record},
};

/// What the lists ask of the data plane; tests have a kernel that refuses things.
pub(in crate::daemon::live) trait Kernel {
    /// Remembers entries for the next process; returns for how many there is no room.
    fn remember(&mut self, records: &[(u32, Record)]) -> Result<usize, PlaneError>;
    /// Zeroes counters of hits.
    fn zero_hits(&mut self, counters: &[u32]) -> Result<(), PlaneError>;
    /// Puts lists into force.
    fn put(&mut self, lists: Compiled) -> Result<(), PlaneError>;
}

impl Kernel for DataPlane {
    fn remember(&mut self, records: &[(u32, Record)]) -> Result<usize, PlaneError> {
        self.remember_lists(records)
    }

    fn zero_hits(&mut self, counters: &[u32]) -> Result<(), PlaneError> {
        self.zero_list_hits(counters)
    }

    fn put(&mut self, lists: Compiled) -> Result<(), PlaneError> {
        self.set_lists(lists)
    }
}
