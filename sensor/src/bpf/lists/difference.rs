//! What changes from one state of a table to the next.

use std::io;

use sensor_ebpf::abi::ListEntry;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::bpf::sys::map::Table;

/// Elements that one system call sets.
pub(super) const BATCH: usize = 4096;

/// A difference between two sorted tables.
pub(super) struct Difference<'a, K> {
    put: Vec<&'a (K, ListEntry)>,
    delete: Vec<K>,
}

impl<'a, K: Ord + Copy> Difference<'a, K> {
    /// `uncertain`: the old table may not be what the kernel holds.
    pub(super) fn new(old: &[(K, ListEntry)], new: &'a [(K, ListEntry)], uncertain: bool) -> Self {
        let mut put = Vec::new();
        let mut delete = Vec::new();
        let mut old = old.iter().peekable();
        for entry in new {
            while let Some((key, _)) = old.next_if(|(key, _)| *key < entry.0) {
                delete.push(*key);
            }
            let same = old.next_if(|(key, _)| *key == entry.0) == Some(entry);
            if !same || uncertain {
                put.push(entry);
            }
        }
        delete.extend(old.map(|(key, _)| *key));
        Self { put, delete }
    }

    pub(super) fn put<T: IntoBytes + FromBytes + Immutable>(
        &self,
        table: &Table<T, ListEntry>,
        as_key: impl Fn(K) -> T,
    ) -> io::Result<()> {
        for batch in self.put.chunks(BATCH) {
            let keys: Vec<_> = batch.iter().map(|(key, _)| as_key(*key)).collect();
            let values: Vec<_> = batch.iter().map(|(_, value)| *value).collect();
            table.set_all(&keys, &values)?;
        }
        Ok(())
    }

    pub(super) fn delete<T: IntoBytes + FromBytes + Immutable>(
        &self,
        table: &Table<T, ListEntry>,
        as_key: impl Fn(K) -> T,
    ) -> io::Result<()> {
        self.delete
            .iter()
            .try_for_each(|key| table.delete(&as_key(*key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(keys: &[(u32, u64)]) -> Vec<(u32, ListEntry)> {
        let entry = |block_until_ns| ListEntry {
            block_until_ns,
            ..ListEntry::default()
        };
        keys.iter().map(|(key, end)| (*key, entry(*end))).collect()
    }

    #[test]
    fn only_what_differs_is_written() {
        let old = table(&[(1, 10), (2, 10), (4, 10), (9, 10)]);
        let new = table(&[(2, 10), (3, 10), (4, 20)]);
        let difference = Difference::new(&old, &new, false);
        let put: Vec<_> = difference.put.iter().map(|(key, _)| *key).collect();
        assert_eq!((put, difference.delete), (vec![3, 4], vec![1, 9]));
        let all = Difference::new(&old, &new, true);
        assert_eq!(all.put.len(), 3);
    }
}
