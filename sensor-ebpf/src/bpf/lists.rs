//! The allow and block lists: whom they are asked of, and how.
//!
//! They are matched against what is received: the source's address, and the destination port. An
//! address is looked up by itself where it lies in `LIST_EXACT`, and by its longest prefix
//! otherwise; `lists::index` spares nearly all packets that no list knows either look-up.

use sensor_ebpf::{
    abi::{DropReason, FlowKey, ListEntry, ListPort, mode},
    lists::{
        self, Decision,
        index::{self, Slot},
    },
};

use super::{
    atomic,
    maps::{LIST_EXACT, LIST_HITS, LIST_INDEX, LIST_PORTS, longest_prefix},
    run::Run,
};

/// Which lists may know a packet, by the index.
#[derive(Clone, Copy)]
pub(super) struct Hint {
    source: u64,
    port: u64,
}

/// What the lists make of a packet. Hits and would-be drops are counted by then.
#[derive(Clone, Copy)]
pub(super) enum Verdict {
    Pass {
        /// An allow entry applies.
        allowed: bool,
        /// The same holds for the whole flow until the lists change.
        lasting: bool,
    },
    Block(DropReason),
}

impl Verdict {
    /// Of a packet that no list knows.
    pub(super) const PASS: Self = Self::Pass {
        allowed: false,
        lasting: true,
    };
}

/// The generation of the lists that are in force for this packet; 0 if none is.
///
/// Read before the lists themselves: what is remembered of an older generation is asked again.
#[inline(always)]
pub(super) fn generation(run: &Run) -> u32 {
    if run.settings.mode & mode::PASS_ALL != 0 {
        return 0;
    }
    // SAFETY: a live map value.
    unsafe { (&raw const run.settings.lists_generation).read_volatile() }
}

/// Asks the index. `None` if no list knows the packet.
#[inline(always)]
pub(super) fn hint(key: &FlowKey) -> Option<Hint> {
    let hint = Hint {
        source: bits(Slot::source(key)),
        port: Slot::destination_port(key).map_or(0, bits),
    };
    if hint.source | hint.port == 0 || lists::is_neighbour_discovery(key) {
        return None;
    }
    Some(hint)
}

#[inline(always)]
fn bits(slot: Slot) -> u64 {
    match LIST_INDEX.get(slot.word()) {
        Some(word) => *word >> slot.shift() & (index::EXACT | index::PREFIX),
        None => 0,
    }
}

/// The verdict by the address alone, if it is listed by itself and blocked: such packets cost no
/// look-up of a flow. Those of a source that this CPU blocked of late cost none at all.
#[inline(always)]
pub(super) fn blocked_address(
    run: &mut Run,
    key: &FlowKey,
    hint: Hint,
    generation: u32,
) -> Option<DropReason> {
    if hint.source & index::EXACT == 0 || hint.port != 0 || is_tap(run) {
        return None;
    }
    let now = run.now_ns();
    let place = run.cpu.last_blocked.place(key);
    if place.holds(key, generation, now) {
        let (hits, reason) = (place.hits, place.reason());
        hit(run, hits, now);
        return Some(reason);
    }
    let entry = exact(key)?;
    match lists::decide(Some(&entry), None, now) {
        Decision::Block { reason, hits } => {
            run.cpu
                .last_blocked
                .place(key)
                .remember(key, generation, &entry);
            hit(run, hits, now);
            Some(reason)
        }
        // Counted where the packet's flow is judged.
        _ => None,
    }
}

/// Judges a packet that the index has a hint of.
#[inline(always)]
pub(super) fn judge(run: &mut Run, key: &FlowKey, hint: Hint) -> Verdict {
    let now = run.now_ns();
    let source = match (
        hint.source & index::EXACT != 0,
        hint.source & index::PREFIX != 0,
    ) {
        (true, true) => exact(key).or_else(|| longest_prefix(key.src).copied()),
        (true, false) => exact(key),
        (false, true) => longest_prefix(key.src).copied(),
        (false, false) => None,
    };
    let port = if hint.port != 0 { of_port(key) } else { None };
    match lists::decide(source.as_ref(), port.as_ref(), now) {
        Decision::Pass { allowed } => Verdict::Pass {
            allowed,
            lasting: true,
        },
        Decision::Spared { hits } => {
            hit(run, hits, now);
            Verdict::Pass {
                allowed: true,
                lasting: false,
            }
        }
        Decision::Block { reason, hits } => {
            hit(run, hits, now);
            if is_tap(run) {
                return would_block(run, reason);
            }
            Verdict::Block(reason)
        }
        Decision::DryRun { reason, hits } => {
            hit(run, hits, now);
            would_block(run, reason)
        }
    }
}

#[inline(always)]
fn exact(key: &FlowKey) -> Option<ListEntry> {
    // SAFETY: the value is copied at once.
    let entry = unsafe { LIST_EXACT.get(&key.src)? };
    still(entry, lists::owner(&key.src))
}

#[inline(always)]
fn of_port(key: &FlowKey) -> Option<ListEntry> {
    let port = ListPort {
        port: key.dst_port,
        protocol: key.protocol.into(),
    };
    // SAFETY: the value is copied at once.
    let entry = unsafe { LIST_PORTS.get(&port)? };
    still(entry, lists::port_owner(port))
}

/// A copy of an element of a hash table, unless it was deleted and given to another key in the
/// meantime: the mark is the last that is read, and the kernel writes a new value only after that
/// of the old key was deleted.
#[inline(always)]
fn still(entry: &ListEntry, owner: u64) -> Option<ListEntry> {
    let entry = core::ptr::from_ref(entry);
    // SAFETY: a live map value.
    unsafe {
        let copy = entry.read_volatile();
        ((&raw const (*entry).owner).read_volatile() == owner).then_some(copy)
    }
}

/// A mirror port stops nothing: its frames are copies.
#[inline(always)]
fn is_tap(run: &Run) -> bool {
    run.settings.mode & mode::TAP != 0
}

#[inline(always)]
fn would_block(run: &mut Run, reason: DropReason) -> Verdict {
    if let Some(packets) = run.totals.would_drop.get_mut(reason as usize) {
        *packets += run.packets;
    }
    Verdict::Pass {
        allowed: false,
        lasting: false,
    }
}

#[inline(always)]
fn hit(run: &Run, hits: u32, now_ns: u64) {
    if let Some(hits) = LIST_HITS.get_ptr_mut(hits) {
        // SAFETY: a live map value, of whose last store any may win.
        unsafe {
            atomic::add(&raw mut (*hits).packets, run.packets);
            atomic::add(&raw mut (*hits).bytes, run.bytes);
            (&raw mut (*hits).last_ns).write_volatile(now_ns);
        }
    }
}
