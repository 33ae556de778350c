//! Finds destinations that get many SYNs: user space decides what to make of them.

use aya_ebpf::bindings::BPF_NOEXIST;
use sensor_ebpf::{
    abi::{DestinationKey, GuardSettings, SKETCH_CELLS},
    guard::{budget, hash},
};

use super::super::maps::{SUSPECTS, SYN_SKETCH};

/// Counts a SYN by a hash of its destination, within a window and on this CPU. The one that
/// reaches the threshold names the suspect: where several destinations share a cell, the one with
/// the most SYNs is the likeliest.
#[inline(always)]
pub(super) fn count(settings: &GuardSettings, to: &DestinationKey, now_ns: u64) {
    if settings.suspect_per_window == 0 {
        return;
    }
    let hash = hash::destination(&settings.seed, &to.address, to.port);
    let cell = (hash >> 40) as u32 % SKETCH_CELLS as u32;
    let Some(cell) = SYN_SKETCH.get_ptr_mut(cell) else {
        return;
    };
    // SAFETY: this CPU's value.
    let cell = unsafe { &mut *cell };
    let window = budget::window(now_ns);
    if cell.window != window {
        cell.window = window;
        cell.count = 0;
    }
    cell.count += 1;
    if cell.count == settings.suspect_per_window {
        // It is there already, or the table is full: user space has enough to look at.
        let _ = SUSPECTS.insert(to, &now_ns, u64::from(BPF_NOEXIST));
    }
}
