//! The grace period.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use super::{BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_ARRAY_OF_MAPS, create, raw, update};

/// A grace period of RCU on demand.
///
/// Replacing an inner map makes the kernel wait until no program can hold the old one:
/// `maybe_wait_bpf_programs()` in `kernel/bpf/syscall.c` calls `synchronize_rcu()` after an update
/// of a map of maps (commit 1ae80cf31938, Linux 4.18). XDP, TC and test runs all happen
/// inside one RCU read-side section each, and read the epoch in it; so when the update returns,
/// every program that has read the old epoch has ended.
#[derive(Debug)]
pub(crate) struct GracePeriod {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl GracePeriod {
    /// Makes both maps, so that none has to be made later, when capabilities may be gone.
    pub(crate) fn new() -> io::Result<Self> {
        let inner = create(BPF_MAP_TYPE_ARRAY, (4, 4), 1, None, b"grace_inner")?;
        let outer = create(
            BPF_MAP_TYPE_ARRAY_OF_MAPS,
            (4, 4),
            1,
            Some(inner.as_fd()),
            b"grace",
        )?;
        Ok(Self { outer, inner })
    }

    /// Returns when every program that was running has ended.
    pub(crate) fn wait(&self) -> io::Result<()> {
        update(self.outer.as_fd(), &0_u32, &raw(self.inner.as_fd()))
    }
}
