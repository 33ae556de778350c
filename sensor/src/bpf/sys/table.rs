//! Tables that user space fills while programs look them up.

use std::{io, marker::PhantomData, os::fd::AsFd as _};

use aya::maps::MapData;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    Command, address, bpf,
    map::{BatchAttr, ElementAttr, check_sizes, raw},
};

/// A `HASH`, `LPM_TRIE` or `ARRAY` from `K` to `V`, changed element by element: each change is
/// one step for the programs. Batches need Linux 5.6, those of tries 5.13.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    map: MapData,
    _types: PhantomData<(K, V)>,
}

impl<K, V> Table<K, V>
where
    K: IntoBytes + Immutable,
    V: IntoBytes + FromBytes + Immutable,
{
    pub(crate) fn new(map: MapData) -> io::Result<Self> {
        check_sizes(&map, size_of::<K>(), size_of::<V>())?;
        Ok(Self {
            map,
            _types: PhantomData,
        })
    }

    /// Sets elements, which are there or not.
    ///
    /// # Errors
    /// What the kernel says of the first element that it refuses; those before it are set.
    pub(crate) fn put(&self, keys: &[K], values: &[V]) -> io::Result<()> {
        let count = keys.len().min(values.len());
        let mut attr = BatchAttr {
            keys: address(keys.as_ptr()),
            values: address(values.as_ptr()),
            count: u32::try_from(count).map_err(io::Error::other)?,
            map_fd: raw(self.map.fd().as_fd()),
            ..BatchAttr::default()
        };
        if count == 0 {
            return Ok(());
        }
        // SAFETY: the kernel reads `count` keys and values, which are as long as the map's.
        unsafe { bpf(Command::MapUpdateBatch, &mut attr).map(drop) }
    }

    /// Deletes an element; one that is not there is no error.
    pub(crate) fn delete(&self, key: &K) -> io::Result<()> {
        let mut attr = ElementAttr {
            map_fd: raw(self.map.fd().as_fd()),
            key: address(key),
            ..ElementAttr::default()
        };
        // SAFETY: the kernel reads one key, which is as long as the map's.
        match unsafe { bpf(Command::MapDelete, &mut attr) } {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    /// All keys, while nobody else changes the table.
    pub(crate) fn keys(&self) -> io::Result<Vec<K>>
    where
        K: FromBytes,
    {
        let mut keys: Vec<K> = Vec::new();
        loop {
            let mut next = K::new_zeroed();
            let mut attr = ElementAttr {
                map_fd: raw(self.map.fd().as_fd()),
                key: keys.last().map_or(0, |key| address(key)),
                value: address(&raw mut next),
                ..ElementAttr::default()
            };
            // SAFETY: the kernel reads one key, unless its address is 0, and writes one; both are
            // as long as the map's.
            match unsafe { bpf(Command::MapNextKey, &mut attr) } {
                Ok(_) => keys.push(next),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(keys),
                Err(error) => return Err(error),
            }
        }
    }

    /// The value of an element; `None` if it is not there.
    pub(crate) fn get(&self, key: &K) -> io::Result<Option<V>> {
        let mut value = V::new_zeroed();
        let mut attr = ElementAttr {
            map_fd: raw(self.map.fd().as_fd()),
            key: address(key),
            value: address(&raw mut value),
            ..ElementAttr::default()
        };
        // SAFETY: the kernel reads one key and writes one value, which are as long as the map's.
        match unsafe { bpf(Command::MapLookup, &mut attr) } {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
