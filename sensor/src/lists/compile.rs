//! From nested entries to the flat form that the kernel looks up.

use sensor_ebpf::{
    abi::{ListEntry, ListPort, list_flags},
    lists::index,
};

use super::{Bitmap, Entry, Key, List, Prefix, Target};

/// What the kernel's maps hold, each part sorted by its key.
///
/// Where prefixes nest, the value of each contains what covers it, so that the longest match is
/// the whole answer. An IPv6 prefix that spans the place where flow keys hold IPv4 addresses is
/// stopped there by an entry that says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    pub(crate) exact: Vec<(Prefix, ListEntry)>,
    pub(crate) prefixes: Vec<(Prefix, ListEntry)>,
    pub(crate) ports: Vec<(ListPort, ListEntry)>,
    /// The values may not be what the kernel holds, because a change has failed.
    pub(crate) uncertain: bool,
}

impl Compiled {
    /// Flattens `entries`, which come in the order of their keys.
    pub(super) fn new<'a>(entries: impl Iterator<Item = (&'a Key, &'a Entry)>) -> Self {
        let mut compiled = Self::default();
        // The listed prefixes that cover the current one, from the outside in.
        let mut covering: Vec<(Prefix, ListEntry)> = Vec::new();
        let mut entries = entries.peekable();
        while let Some((key, entry)) = entries.next() {
            let mut own = ListEntry::default();
            add(&mut own, key, entry);
            while let Some((key, entry)) = entries.next_if(|(next, _)| next.target == key.target) {
                add(&mut own, key, entry);
            }
            match key.target {
                Target::Net(prefix) => {
                    while covering.pop_if(|(outer, _)| !outer.spans(prefix)).is_some() {}
                    let outer = covering.iter().rfind(|(outer, _)| outer.covers(prefix));
                    let merged = merge(own, outer.map(|(_, outer)| *outer).unwrap_or_default());
                    compiled.push(prefix, merged);
                    covering.push((prefix, merged));
                }
                Target::Port(port) => {
                    own.owner = sensor_ebpf::lists::port_owner(port);
                    compiled.ports.push((port, own));
                }
            }
        }
        compiled.stop_at_v4();
        compiled
    }

    /// One address goes where it is looked up first, unless it is allowed: an allowed flow must
    /// not pay for that look-up with each packet.
    fn push(&mut self, prefix: Prefix, mut entry: ListEntry) {
        if prefix.is_address() && entry.allow_until_ns == 0 {
            entry.owner = sensor_ebpf::lists::owner(&prefix.to_kernel().address);
            self.exact.push((prefix, entry));
        } else {
            self.prefixes.push((prefix, entry));
        }
    }

    fn stop_at_v4(&mut self) {
        let spanned = self
            .prefixes
            .iter()
            .any(|(prefix, _)| !prefix.is_v4() && prefix.spans(Prefix::V4));
        if let (true, Err(at)) = (
            spanned,
            self.prefixes
                .binary_search_by_key(&Prefix::V4, |(prefix, _)| *prefix),
        ) {
            self.prefixes.insert(at, (Prefix::V4, ListEntry::default()));
        }
    }

    /// Brings parts that were read from the kernel into their order.
    pub(crate) fn sort(&mut self) {
        self.exact.sort_unstable_by_key(|(prefix, _)| *prefix);
        self.prefixes.sort_unstable_by_key(|(prefix, _)| *prefix);
        self.ports.sort_unstable_by_key(|(port, _)| *port);
    }

    /// Whether nothing is listed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.ports.is_empty()
    }

    /// The index of what is listed.
    pub(crate) fn bitmap(&self) -> Bitmap {
        let mut bitmap = Bitmap::new();
        for (prefix, _) in &self.exact {
            bitmap.add(*prefix, index::EXACT);
        }
        for (prefix, entry) in &self.prefixes {
            if *entry != ListEntry::default() {
                bitmap.add(*prefix, index::PREFIX);
            }
        }
        for (port, _) in &self.ports {
            bitmap.add_port(port.protocol, port.port);
        }
        bitmap
    }
}

/// Adds an entry of the same target. Of several of a kind the one that lasts longest counts.
fn add(to: &mut ListEntry, key: &Key, entry: &Entry) {
    let until = entry.until_ns.unwrap_or(u64::MAX);
    let is_prefix = matches!(key.target, Target::Net(prefix) if !prefix.is_address());
    let (end, hits, flag) = match (key.list, entry.dry_run) {
        (List::Allow, _) => (&mut to.allow_until_ns, &mut to.allow_hits, 0),
        (List::Block, false) => (
            &mut to.block_until_ns,
            &mut to.block_hits,
            list_flags::BLOCKS_PREFIX,
        ),
        (List::Block, true) => (
            &mut to.dry_until_ns,
            &mut to.dry_hits,
            list_flags::DRY_PREFIX,
        ),
    };
    if until > *end {
        (*end, *hits) = (until, entry.hits);
        if is_prefix {
            to.flags |= flag;
        }
    }
}

/// What holds for a prefix with entries of its `own` within one for which `outer` holds.
fn merge(own: ListEntry, outer: ListEntry) -> ListEntry {
    let mut merged = own;
    merged.allow_until_ns = own.allow_until_ns.max(outer.allow_until_ns);
    merged.block_until_ns = own.block_until_ns.max(outer.block_until_ns);
    merged.dry_until_ns = own.dry_until_ns.max(outer.dry_until_ns);
    // Hits go to the most specific entry.
    if own.allow_until_ns == 0 {
        merged.allow_hits = outer.allow_hits;
    }
    if own.block_until_ns == 0 {
        merged.block_hits = outer.block_hits;
        merged.flags |= outer.flags & list_flags::BLOCKS_PREFIX;
    }
    if own.dry_until_ns == 0 {
        merged.dry_hits = outer.dry_hits;
        merged.flags |= outer.flags & list_flags::DRY_PREFIX;
    }
    merged
}
