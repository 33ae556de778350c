//! Which of the kernel's counters of hits belongs to which entry.

use std::collections::{BTreeSet, VecDeque};

use sensor_ebpf::abi::LIST_ENTRIES;

/// Gives each entry a counter of its own, and knows which have to be zeroed before that.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Counters that were in use, the oldest first.
    freed: VecDeque<u32>,
    /// Counters that were never in use start here.
    unused: u32,
    /// Counters that are in use again, and have to be zeroed.
    reused: Vec<u32>,
    /// An earlier process may have used any counter.
    resumed: bool,
}

impl Counters {
    /// Goes on with the counters that an earlier process has `used`.
    pub(super) fn resume(used: &BTreeSet<u32>) -> Self {
        let unused = used.last().map_or(0, |last| last + 1);
        Self {
            freed: (0..unused).filter(|one| !used.contains(one)).collect(),
            unused,
            reused: Vec::new(),
            resumed: true,
        }
    }

    /// A counter that nobody has; none if all are in use.
    pub(super) fn take(&mut self) -> Option<u32> {
        let is_unused = (self.unused as usize) < LIST_ENTRIES;
        let counter = if is_unused {
            self.unused += 1;
            self.unused - 1
        } else {
            self.freed.pop_front()?
        };
        if !is_unused || self.resumed {
            self.reused.push(counter);
        }
        Some(counter)
    }

    pub(super) fn give_back(&mut self, counter: u32) {
        self.freed.push_back(counter);
    }

    /// Counters that were given to another entry, and have not been zeroed since.
    pub(super) fn reused(&self) -> &[u32] {
        &self.reused
    }

    /// Those have been zeroed.
    pub(super) fn zeroed(&mut self) {
        self.reused.clear();
    }
}
