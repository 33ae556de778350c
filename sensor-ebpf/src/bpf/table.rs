//! Where a flow's entry is: a slot of its set, or the spill table behind the sets.
//!
//! Two CPUs that meet a flow for the first time at once may make two entries for it. Both are
//! counted into, each packet once, and user space adds up what it finds.

use core::ptr::NonNull;

use aya_ebpf::bindings::BPF_NOEXIST;
use sensor_ebpf::{
    abi::{FlowEntry, FlowKey, FlowSet, FlowSlot, SETS_PER_WORD, SlotTag, WAYS, set_of},
    hash,
};

use super::{
    atomic,
    maps::{FLOWS, FLOWS_USED, SPILL_0, SPILL_1, flow_seed, flow_sets},
    run::Run,
};

/// Kernel errors that `bpf_map_update_elem` returns.
const EEXIST: i32 = -17;
const E2BIG: i32 = -7;

/// A flow's entry in a map. `Option` of it is one register, null for `None`: of two registers the
/// second would have no value where the first says so, and the verifier of Linux 6.1 meets it.
pub(super) type Entry = NonNull<FlowEntry>;

/// Where a flow's entry is in a generation, or would be.
#[derive(Clone, Copy)]
pub(super) struct Place {
    words: [u64; 6],
    epoch: u64,
    /// Index within a generation.
    set: u32,
    /// The slot that is tried first; the others follow it in turn.
    home: usize,
    /// What the flow's slot bears.
    tag: SlotTag,
}

impl Place {
    #[inline(always)]
    pub(super) fn of(epoch: u64, key: &FlowKey) -> Self {
        let words = key.words();
        let hash = hash::flow(&words, flow_seed);
        Self {
            words,
            epoch,
            set: set_of(hash, flow_sets()),
            home: hash as usize >> 8,
            tag: SlotTag::ready(epoch, hash),
        }
    }

    #[inline(always)]
    fn set(&self) -> Option<*mut FlowSet> {
        let half = if self.epoch & 1 == 0 { 0 } else { flow_sets() };
        FLOWS.get_ptr_mut(half + self.set)
    }

    /// The number of a slot in its set, and the slot.
    #[inline(always)]
    fn slot(&self, set: *mut FlowSet, step: usize) -> (usize, *mut FlowSlot) {
        let way = (self.home + step) % WAYS;
        // SAFETY: `way` lies within the set.
        (way, unsafe {
            (&raw mut (*set).slots).cast::<FlowSlot>().add(way)
        })
    }

    /// The flow's entry, if the generation has met the flow.
    ///
    /// No program takes an entry away, and user space makes a table anew only when no program can
    /// hold a pointer into it: the entry stays valid for as long as this run lasts.
    #[inline(always)]
    pub(super) fn lookup(&self, key: &FlowKey) -> Option<Entry> {
        let set = self.set()?;
        for step in 0..WAYS {
            let (_, slot) = self.slot(set, step);
            // SAFETY: a live map value; the key of a slot that bears a complete tag of this
            // generation no longer changes.
            unsafe {
                let tag = SlotTag((&raw const (*slot).tag).read_volatile());
                if tag == self.tag && self.is_key(&raw const (*slot).key) {
                    return NonNull::new(&raw mut (*slot).entry);
                }
                if !tag.is_of(self.epoch) {
                    return None;
                }
            }
        }
        self.spilled(key)
    }

    #[inline(always)]
    fn spilled(&self, key: &FlowKey) -> Option<Entry> {
        let found = if self.epoch & 1 == 0 {
            SPILL_0.get_ptr_mut(key)
        } else {
            SPILL_1.get_ptr_mut(key)
        };
        found.and_then(NonNull::new)
    }

    /// Whether it is known without trying that there is no room: this CPU has found the spill table
    /// full, and the set is. Spares a packet that will overflow what a first touch asks.
    #[inline(always)]
    pub(super) fn is_full(&self, run: &Run) -> bool {
        if run.cpu.full_epoch != self.epoch {
            return false;
        }
        let Some(set) = self.set() else {
            return true;
        };
        (0..WAYS).all(|step| {
            let (_, slot) = self.slot(set, step);
            // SAFETY: a live map value.
            SlotTag(unsafe { (&raw const (*slot).tag).read_volatile() }).is_of(self.epoch)
        })
    }

    /// Makes the entry of a flow that the generation has not met, with what is remembered of it
    /// (`FlowEntry::state`); `None` if there is no room.
    #[inline(always)]
    pub(super) fn insert(&self, run: &mut Run, key: &FlowKey, state: u64) -> Option<Entry> {
        let now = run.now_ns();
        let fresh = FlowEntry {
            first_ns: now,
            last_ns: now,
            state,
            ..FlowEntry::default()
        };
        let set = self.set()?;
        for step in 0..WAYS {
            let (way, slot) = self.slot(set, step);
            // SAFETY: a live map value, of which only the CPU that has put its tag there writes
            // key and entry.
            unsafe {
                let tag = SlotTag((&raw const (*slot).tag).read_volatile());
                let taken = !tag.is_of(self.epoch)
                    && atomic::replace(&raw mut (*slot).tag, tag.0, self.tag.filling().0);
                if taken {
                    self.mark(way);
                    (&raw mut (*slot).key).write(*key);
                    (&raw mut (*slot).entry).write(fresh);
                    // Orders what was written before.
                    atomic::fetch_add(&raw mut (*slot).tag, 1);
                    return NonNull::new(&raw mut (*slot).entry);
                }
            }
        }
        self.spill(run, key, &fresh)
    }

    /// Tells user space that the slot is used.
    #[inline(always)]
    fn mark(&self, way: usize) {
        let words = flow_sets() / SETS_PER_WORD;
        let half = if self.epoch & 1 == 0 { 0 } else { words };
        let bit = self.set as usize % SETS_PER_WORD as usize * WAYS + way;
        if let Some(word) = FLOWS_USED.get_ptr_mut(half + self.set / SETS_PER_WORD) {
            // SAFETY: a live map value.
            unsafe { atomic::or(word, 1 << bit) };
        }
    }

    #[inline(always)]
    fn spill(&self, run: &mut Run, key: &FlowKey, fresh: &FlowEntry) -> Option<Entry> {
        // A failing insert into a full table takes locks on all CPUs' free lists. Once it has
        // failed, nothing makes room before the generation changes.
        if run.cpu.full_epoch == run.epoch {
            return None;
        }
        let flags = u64::from(BPF_NOEXIST);
        let made = if self.epoch & 1 == 0 {
            SPILL_0.insert(key, fresh, flags)
        } else {
            SPILL_1.insert(key, fresh, flags)
        };
        match made {
            // Made by this CPU, or by another one in the meantime.
            Ok(()) | Err(EEXIST) => self.spilled(key),
            Err(E2BIG) => {
                run.cpu.full_epoch = run.epoch;
                None
            }
            Err(_) => None,
        }
    }

    /// Whether a slot's key is the flow's: without branches, since a slot with the flow's tag is
    /// nearly always the flow's.
    ///
    /// # Safety
    ///
    /// `key` points into a live map value.
    #[inline(always)]
    unsafe fn is_key(&self, key: *const FlowKey) -> bool {
        let words = key.cast::<u64>();
        let mut difference = 0;
        for (at, word) in self.words.iter().enumerate() {
            // SAFETY: a key is as many aligned words, in the order of a little-endian machine.
            difference |= unsafe { words.add(at).read() } ^ word;
        }
        difference == 0
    }
}
