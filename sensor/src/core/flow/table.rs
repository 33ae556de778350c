//! The flow table: a bounded slab of flows with a seeded hash index. Nothing iterates the index,
//! so that its order shows nowhere.

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};
use zerocopy::IntoBytes;

use super::Flow;
use super::key::Key;
use crate::core::order::Moment;

#[derive(Debug)]
pub(crate) struct Table {
    index: HashTable<u32>,
    flows: Vec<Option<Flow>>,
    free: Vec<u32>,
    hasher: SeedableRandomState,
    limit: usize,
}

impl Table {
    pub(crate) fn new(seed: u64, limit: usize) -> Self {
        // One shared seed for all tables is enough: the per-table seed is what attackers must
        // not know.
        let shared = SharedSeed::global_fixed();
        Self {
            index: HashTable::new(),
            flows: Vec::new(),
            free: Vec::new(),
            hasher: SeedableRandomState::with_seed(seed, shared),
            limit: limit.clamp(1, 1 << 30),
        }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &Key) -> u64 {
        hash(&self.hasher, key)
    }

    /// The live flow with this key.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &Key) -> Option<u32> {
        let flows = &self.flows;
        self.index
            .find(
                hash,
                |slot| matches!(&flows[*slot as usize], Some(flow) if flow.key == *key),
            )
            .copied()
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&Flow> {
        self.flows.get(slot as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Flow> {
        self.flows.get_mut(slot as usize)?.as_mut()
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.flows.len() - self.free.len() >= self.limit
    }

    pub(crate) const fn len(&self) -> usize {
        self.flows.len() - self.free.len()
    }

    /// Adds a flow whose key is not there yet; `None` if the table is full.
    pub(crate) fn insert(&mut self, hash_of_key: u64, flow: Flow) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let slot = if let Some(slot) = self.free.pop() {
            self.flows[slot as usize] = Some(flow);
            slot
        } else {
            self.flows.push(Some(flow));
            (self.flows.len() - 1) as u32
        };
        let (flows, hasher) = (&self.flows, &self.hasher);
        self.index.insert_unique(hash_of_key, slot, |slot| {
            flows[*slot as usize]
                .as_ref()
                .map_or(0, |flow| hash(hasher, &flow.key))
        });
        Some(slot)
    }

    /// Takes a flow out.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Flow> {
        let flow = self.flows.get_mut(slot as usize)?.take()?;
        if let Ok(entry) = self
            .index
            .find_entry(hash(&self.hasher, &flow.key), |found| *found == slot)
        {
            entry.remove();
        }
        self.free.push(slot);
        Some(flow)
    }

    /// All live flows, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter().flatten()
    }

    /// Slots of all live flows, in the order in which the flows began.
    pub(crate) fn by_age(&self) -> Vec<u32> {
        let mut slots: Vec<(Moment, u32)> = self
            .flows
            .iter()
            .enumerate()
            .filter_map(|(slot, flow)| flow.as_ref().map(|flow| (flow.created, slot as u32)))
            .collect();
        slots.sort_unstable();
        slots.into_iter().map(|(_, slot)| slot).collect()
    }
}

#[inline]
fn hash(hasher: &SeedableRandomState, key: &Key) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(key.as_bytes());
    state.finish()
}
