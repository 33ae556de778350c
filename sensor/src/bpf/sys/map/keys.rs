//! Sets of keys.

use std::{collections::BTreeSet, io, os::fd::AsFd as _};

use aya::maps::MapData;
use zerocopy::{Immutable, IntoBytes};

use super::{check_sizes, delete, next_key, update};

/// The value of every key of a [`KeySet`].
const PRESENT: u8 = 1;

/// A map of which only the keys matter (`HASH` or `LPM_TRIE` with values of one byte).
#[derive(Debug)]
pub(crate) struct KeySet {
    map: MapData,
    key_len: usize,
    /// What the map holds.
    keys: BTreeSet<Vec<u8>>,
}

impl KeySet {
    pub(crate) fn new(map: MapData) -> io::Result<Self> {
        let key_len = map.info().map_err(io::Error::other)?.key_size() as usize;
        check_sizes(&map, key_len, 1)?;
        Ok(Self {
            map,
            key_len,
            keys: BTreeSet::new(),
        })
    }

    /// Learns which keys an earlier process has left in the map.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        let mut last: Option<Vec<u8>> = None;
        loop {
            let mut next = vec![0; self.key_len];
            if !next_key(self.map.fd().as_fd(), last.as_deref(), &mut next)? {
                return Ok(());
            }
            self.keys.insert(next.clone());
            last = Some(next);
        }
    }

    /// Makes the map hold exactly `keys`: the new ones come in before the old ones go.
    ///
    /// # Errors
    /// The kernel's. What it did not do, the next call does.
    pub(crate) fn replace<K: IntoBytes + Immutable>(&mut self, keys: &[K]) -> io::Result<()> {
        if size_of::<K>() != self.key_len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let new: BTreeSet<_> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        let map = self.map.fd().as_fd();
        for key in &new {
            update(map, key.as_slice(), &PRESENT)?;
            self.keys.insert(key.clone());
        }
        retain(&mut self.keys, &new, |key| delete(map, key))
    }
}

/// Deletes the keys that are not among `new`, and forgets those that are deleted; returns the last
/// refusal.
fn retain(
    keys: &mut BTreeSet<Vec<u8>>,
    new: &BTreeSet<Vec<u8>>,
    mut delete: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut result = Ok(());
    keys.retain(|key| {
        if new.contains(key) {
            return true;
        }
        let deleted = delete(key);
        let stays = deleted.is_err();
        if stays {
            result = deleted;
        }
        stays
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_whose_deletion_is_refused_is_deleted_later() {
        let set = |keys: &[u8]| keys.iter().map(|key| vec![*key]).collect::<BTreeSet<_>>();
        let mut keys = set(&[1, 2, 3, 4]);
        let refuse_2 = |key: &[u8]| match key {
            [2] => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(()),
        };
        assert!(retain(&mut keys, &set(&[4]), refuse_2).is_err());
        assert_eq!(keys, set(&[2, 4]));
        let mut deleted = Vec::new();
        let note = |key: &[u8]| {
            deleted.extend_from_slice(key);
            Ok(())
        };
        assert!(retain(&mut keys, &set(&[4]), note).is_ok());
        assert_eq!((keys, deleted), (set(&[4]), vec![2]));
    }
}
