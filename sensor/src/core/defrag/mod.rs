//! Reassembly of IP datagrams (RFC 791 section 3.2, RFC 8200 section 4.5), bounded in datagrams,
//! bytes and time. Where fragments overlap, the bytes that came first stand.

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
use super::frame::Frame;
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
    /// The datagram that is complete now, from its IP header on.
    pub(crate) datagram: Option<Bytes>,
}

/// Counts of a datagram that never showed its first fragment, with the fragments' own key.
pub(crate) type Orphan = (FlowKey, Owed);

#[derive(Debug)]
pub(crate) struct Defrag {
    datagrams: HashTable<Datagram>,
    /// Datagrams in the order in which they began; some of them may be gone.
    queue: VecDeque<(Timestamp, FlowKey, u32, u64)>,
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
        packet: &Packet,
        frame: &Frame,
        limits: &Limits,
        stats: &mut DefragStats,
        orphans: &mut Vec<Orphan>,
    ) -> Outcome {
        let Some(fragment) = packet.headers.fragment else {
            return Outcome::default();
        };
        let time = frame.time;
        let key = fragment_key(&packet.key);
        let hash = hash(&self.hasher, &key, fragment.id);
        let found = self
            .datagrams
            .find_entry(hash, |datagram| datagram.is(&key, fragment.id))
            .is_ok();
        if !found {
            while self.datagrams.len() >= limits.fragmented_datagrams.max(1)
                || stats.held_bytes >= limits.fragment_bytes as u64
            {
                stats.dropped += 1;
                if !self.give_up_oldest(stats, orphans) {
                    break;
                }
            }
            self.serial += 1;
            let datagram = Datagram::new(key, fragment.id, self.serial);
            self.queue.push_back((time, key, fragment.id, self.serial));
            let hasher = &self.hasher;
            self.datagrams.insert_unique(hash, datagram, |datagram| {
                self::hash(hasher, datagram.key(), datagram.id())
            });
            self.compact();
        }
        let Ok(mut entry) = self
            .datagrams
            .find_entry(hash, |datagram| datagram.is(&key, fragment.id))
        else {
            return Outcome::default();
        };
        let datagram = entry.get_mut();
        datagram.owe(time, frame.wire_len);
        let before = datagram.held_bytes();
        let added = datagram.add(packet, &frame.data, limits.fragments);
        stats.held_bytes += (datagram.held_bytes() - before) as u64;
        match added {
            Ok(overlap) => stats.overlaps += u64::from(overlap),
            Err(Refused::Malformed) => stats.malformed += 1,
            Err(Refused::TooMany) => stats.dropped += 1,
        }
        let counts = datagram.settle();
        let mut outcome = Outcome {
            counts,
            datagram: None,
        };
        if datagram.is_complete() {
            stats.held_bytes -= datagram.held_bytes() as u64;
            stats.reassembled += 1;
            outcome.datagram = entry.remove().0.assemble();
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
        while self
            .queue
            .front()
            .is_some_and(|(began, ..)| *began < before)
        {
            if self.give_up_oldest(stats, orphans) {
                stats.timeouts += 1;
            }
        }
    }

    /// Gives up the datagram at the queue's front; false if it is gone already, or there is none.
    fn give_up_oldest(&mut self, stats: &mut DefragStats, orphans: &mut Vec<Orphan>) -> bool {
        while let Some((_, key, id, serial)) = self.queue.pop_front() {
            let hash = hash(&self.hasher, &key, id);
            let Ok(entry) = self.datagrams.find_entry(hash, |datagram| {
                datagram.is(&key, id) && datagram.serial() == serial
            }) else {
                continue;
            };
            let (datagram, _) = entry.remove();
            stats.held_bytes -= datagram.held_bytes() as u64;
            orphans.extend(datagram.orphan());
            return true;
        }
        false
    }

    /// Forgets queue entries of datagrams that are gone, once they are the most.
    fn compact(&mut self) {
        if self.queue.len() < 64 || self.queue.len() < self.datagrams.len() * 2 {
            return;
        }
        let (datagrams, hasher) = (&self.datagrams, &self.hasher);
        self.queue.retain(|(_, key, id, serial)| {
            let hash = hash(hasher, key, *id);
            datagrams
                .find(hash, |datagram| {
                    datagram.is(key, *id) && datagram.serial() == *serial
                })
                .is_some()
        });
    }
}

/// What identifies a fragment's datagram, besides its number: no ports, since only the first
/// fragment has them.
fn fragment_key(key: &FlowKey) -> FlowKey {
    let flags = key.flags | sensor_ebpf::abi::key_flags::FRAGMENT;
    FlowKey {
        src_port: 0,
        dst_port: 0,
        flags,
        ..*key
    }
}

fn hash(hasher: &SeedableRandomState, key: &FlowKey, id: u32) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(key.as_bytes());
    state.write_u32(id);
    state.finish()
}
