//! Reassembly of IP datagrams (RFC 791 section 3.2, RFC 8200 section 4.5), bounded in datagrams,
//! bytes and time. Where fragments overlap, the bytes that came first stand; but in IPv6 all that came of
//! the datagram is dropped if only a part of a fragment does (RFC 5722).

mod datagram;

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};

use bytes::Bytes;
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use sensor_ebpf::abi::FlowKey;
use zerocopy::IntoBytes;

use self::datagram::{Datagram, Refused};
use super::decode::Packet;
use super::flow::tunnel::Tunnel;
use super::frame::{Frame, Sample};
use super::limits::Limits;
use super::stats::DefragStats;
use super::time::Timestamp;

/// Frames that are counted for a flow which their fragments alone do not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

impl Owed {
    fn add(&mut self, time: Timestamp, bytes: u32) {
        if self.packets == 0 {
            self.first = time;
        }
        self.packets += 1;
        self.bytes += u64::from(bytes);
        self.last = self.last.max(time);
    }
}

/// What a fragment brought about.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Frames to be counted now, and for which flow.
    pub(crate) counts: Option<(FlowKey, Owed)>,
    /// The fragment is the first of its datagram to break a rule: the event's name.
    pub(crate) flaw: Option<&'static str>,
    /// The datagram that is complete now.
    pub(crate) datagram: Option<Whole>,
}

/// A datagram that was put together.
#[derive(Debug)]
pub(crate) struct Whole {
    /// From its IP header on.
    pub(crate) data: Bytes,
    /// That of its first fragment, which alone has the ports of the datagram's flow: what the kernel
    /// counted and numbered the others under is another.
    pub(crate) sample: Option<Sample>,
    /// What its fragments came in, the latest last, as far as that is kept.
    pub(crate) frames: Vec<Frame>,
}

/// Counts of a datagram that never showed its first fragment, with the fragments' own key.
#[derive(Debug)]
pub(crate) struct Orphan {
    pub(crate) key: FlowKey,
    pub(crate) tunnel: Option<Box<Tunnel>>,
    pub(crate) owed: Owed,
}

/// A fragment besides its headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    pub(crate) packet: &'a Packet,
    /// What the packet's offsets count into.
    pub(crate) data: &'a Bytes,
    pub(crate) time: Timestamp,
    /// Bytes to count; `None` where the kernel counts.
    pub(crate) wire_len: Option<u32>,
    pub(crate) sample: Option<Sample>,
    /// What is wrong with its header's checksum, by the event's name.
    pub(crate) wrong_checksum: Option<&'static str>,
    /// Such a one is only counted, as its receiver would drop it.
    pub(crate) strict_checksums: bool,
    pub(crate) tunnel: Option<&'a Tunnel>,
    /// What it came in, to be kept with it.
    pub(crate) frames: &'a [Frame],
}

/// What identifies a datagram: no ports, since only its first fragment has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    key: FlowKey,
    id: u32,
    /// Packets around it.
    depth: u8,
}

#[derive(Debug)]
pub(crate) struct Defrag {
    datagrams: HashTable<Datagram>,
    /// Datagrams in the order in which they began; some of them may be gone.
    queue: VecDeque<(Timestamp, Name, u64)>,
    hasher: SeedableRandomState,
    serial: u64,
}

impl Defrag {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            datagrams: HashTable::new(),
            queue: VecDeque::new(),
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
            serial: 0,
        }
    }

    /// Whether nothing is under reassembly.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes a fragment. `orphans` gets the counts of datagrams given up to make room.
    pub(crate) fn insert(
        &mut self,
        fragment: Fragment<'_>,
        limits: &Limits,
        stats: &mut DefragStats,
        orphans: &mut Vec<Orphan>,
    ) -> Outcome {
        let Fragment { packet, time, .. } = fragment;
        let Some(place) = packet.headers.fragment else {
            return Outcome::default();
        };
        let name = Name {
            key: name_key(&packet.key),
            id: place.id,
            depth: fragment.tunnel.map_or(0, Tunnel::depth),
        };
        // Room for the fragment, whether its datagram is known or not.
        let headers = &packet.headers;
        let own = headers
            .end
            .min(fragment.data.len())
            .saturating_sub(headers.ip);
        let incoming = own + held(fragment.frames);
        while stats.held_bytes + incoming as u64 > limits.fragment_bytes as u64
            && self.give_up_oldest(stats, orphans)
        {
            stats.dropped += 1;
        }
        let hash = hash(&self.hasher, &name);
        let found = self
            .datagrams
            .find_entry(hash, |datagram| datagram.is(&name))
            .is_ok();
        if !found {
            while self.datagrams.len() >= limits.fragmented_datagrams.max(1)
                && self.give_up_oldest(stats, orphans)
            {
                stats.dropped += 1;
            }
            self.serial += 1;
            let key = fragment_key(&packet.key);
            let datagram = Datagram::new(key, name.id, self.serial, fragment.tunnel);
            self.queue.push_back((time, name, self.serial));
            let hasher = &self.hasher;
            self.datagrams.insert_unique(hash, datagram, |datagram| {
                self::hash(hasher, &datagram.name())
            });
            self.compact();
        }
        let Ok(mut entry) = self
            .datagrams
            .find_entry(hash, |datagram| datagram.is(&name))
        else {
            return Outcome::default();
        };
        let datagram = entry.get_mut();
        if let Some(wire_len) = fragment.wire_len {
            datagram.owe(time, wire_len);
        }
        let before = datagram.held_bytes();
        let added = if fragment.strict_checksums && fragment.wrong_checksum.is_some() {
            Err(Refused::Checksum)
        } else {
            datagram.add(&fragment, limits.fragments)
        };
        stats.held_bytes -= before as u64;
        stats.held_bytes += datagram.held_bytes() as u64;
        match added {
            Ok(overlap) => stats.overlaps += u64::from(overlap),
            Err(Refused::Malformed | Refused::Length | Refused::TooLarge) => stats.malformed += 1,
            Err(Refused::TooMany) => stats.dropped += 1,
            Err(Refused::Covered) => stats.overlaps += 1,
            Err(refused @ (Refused::Overlap | Refused::Contradiction)) => {
                stats.overlaps += u64::from(refused == Refused::Overlap);
                stats.abandoned += 1 + datagram.fragments() as u64;
            }
            // Counted with the other checksums.
            Err(Refused::Checksum) => {}
        }
        let broken = added.err().and_then(|refused| refused.name(packet.is_v6()));
        let mut outcome = Outcome {
            counts: datagram.settle(),
            flaw: fragment
                .wrong_checksum
                .or(broken)
                .filter(|_| !std::mem::replace(&mut datagram.is_told, true)),
            datagram: None,
        };
        if matches!(added, Err(Refused::Overlap | Refused::Contradiction)) {
            // What comes of it from here on begins anew (RFC 8200 section 4.5).
            stats.held_bytes -= datagram.held_bytes() as u64;
            orphans.extend(entry.remove().0.orphan());
        } else if datagram.is_complete() {
            stats.held_bytes -= datagram.held_bytes() as u64;
            outcome.datagram = entry.remove().0.assemble();
            if outcome.datagram.is_some() {
                stats.reassembled += 1;
            } else {
                stats.malformed += 1;
            }
        }
        outcome
    }

    /// Gives up datagrams that began before `before`.
    pub(crate) fn expire(
        &mut self,
        before: Timestamp,
        stats: &mut DefragStats,
        orphans: &mut Vec<Orphan>,
    ) {
        while let Some((began, name, serial)) = self.queue.front().copied()
            && began < before
        {
            self.queue.pop_front();
            if self.give_up(&name, serial, stats, orphans) {
                stats.timeouts += 1;
            }
        }
    }

    /// Gives up the datagram that began first; false if there is none.
    fn give_up_oldest(&mut self, stats: &mut DefragStats, orphans: &mut Vec<Orphan>) -> bool {
        while let Some((_, name, serial)) = self.queue.pop_front() {
            if self.give_up(&name, serial, stats, orphans) {
                return true;
            }
        }
        false
    }

    /// Gives up a datagram; false if it is gone already.
    fn give_up(
        &mut self,
        name: &Name,
        serial: u64,
        stats: &mut DefragStats,
        orphans: &mut Vec<Orphan>,
    ) -> bool {
        let hash = hash(&self.hasher, name);
        let Ok(entry) = self.datagrams.find_entry(hash, |datagram| {
            datagram.is(name) && datagram.serial() == serial
        }) else {
            return false;
        };
        let (datagram, _) = entry.remove();
        stats.held_bytes -= datagram.held_bytes() as u64;
        orphans.extend(datagram.orphan());
        true
    }

    /// Forgets queue entries of datagrams that are gone, once they are the most.
    fn compact(&mut self) {
        if self.queue.len() < 64 || self.queue.len() < self.datagrams.len() * 2 {
            return;
        }
        let (datagrams, hasher) = (&self.datagrams, &self.hasher);
        self.queue.retain(|(_, name, serial)| {
            let hash = hash(hasher, name);
            datagrams
                .find(hash, |datagram| {
                    datagram.is(name) && datagram.serial() == *serial
                })
                .is_some()
        });
    }
}

/// What a datagram is told from others by: in IPv6 not by the protocol, which only the first
/// fragment tells where further headers are fragmented, too (RFC 8200 section 4.5).
fn name_key(key: &FlowKey) -> FlowKey {
    let is_v6 = key.flags & sensor_ebpf::abi::key_flags::IPV6 != 0;
    FlowKey {
        protocol: if is_v6 { 0 } else { key.protocol },
        ..fragment_key(key)
    }
}

/// The key that a fragment is counted under as long as its datagram's ports are not known.
fn fragment_key(key: &FlowKey) -> FlowKey {
    let flags = key.flags | sensor_ebpf::abi::key_flags::FRAGMENT;
    FlowKey {
        src_port: 0,
        dst_port: 0,
        flags,
        ..*key
    }
}

/// What frames take that are kept with their fragments.
fn held(frames: &[Frame]) -> usize {
    let held = |frame: &Frame| size_of::<Frame>() + frame.data.len();
    frames.iter().map(held).sum()
}

fn hash(hasher: &SeedableRandomState, name: &Name) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(name.key.as_bytes());
    state.write_u32(name.id);
    state.write_u8(name.depth);
    state.finish()
}
