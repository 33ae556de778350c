//! Tables of elements with keys of their own.

use std::{io, marker::PhantomData, os::fd::AsFd as _};

use aya::maps::MapData;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    super::{Command, address, bpf},
    BatchAttr, check_sizes, delete, look_up, next_key, raw, update,
};

/// Where a batched walk over a hash table stands: the kernel's bucket number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor(Option<u32>);

/// What a batched look-up gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Elements at the front of both buffers.
    pub(crate) count: usize,
    /// The walk is over.
    pub(crate) end: bool,
}

/// A `HASH`, `LPM_TRIE` or `ARRAY` from `K` to `V`, which programs may look up at any time: each
/// change of an element is one step for them. Batches need Linux 5.6, those of tries 5.13.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    map: MapData,
    _types: PhantomData<(K, V)>,
}

impl<K, V> Table<K, V>
where
    K: IntoBytes + FromBytes + Immutable,
    V: IntoBytes + FromBytes + Immutable,
{
    pub(crate) fn new(map: MapData) -> io::Result<Self> {
        check_sizes(&map, size_of::<K>(), size_of::<V>())?;
        Ok(Self {
            map,
            _types: PhantomData,
        })
    }

    /// The value of an element; `None` if it is not there.
    pub(crate) fn get(&self, key: &K) -> io::Result<Option<V>> {
        let mut value = V::new_zeroed();
        // SAFETY: the kernel writes one value, which is as long as the map's.
        let found = unsafe { look_up(self.map.fd().as_fd(), key, (&raw mut value).cast()) };
        match found {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds an element, or replaces its value.
    pub(crate) fn set(&self, key: &K, value: &V) -> io::Result<()> {
        update(self.map.fd().as_fd(), key, value)
    }

    /// [`Table::set`] for many.
    ///
    /// # Errors
    /// What the kernel says of the first element that it refuses; those before it are set.
    pub(crate) fn set_all(&self, keys: &[K], values: &[V]) -> io::Result<()> {
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
        delete(self.map.fd().as_fd(), key.as_bytes())
    }

    /// [`Table::delete`] for many, of a hash table.
    pub(crate) fn delete_all(&self, mut keys: &[K]) -> io::Result<()> {
        while !keys.is_empty() {
            let mut attr = BatchAttr {
                keys: address(keys.as_ptr()),
                count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
                map_fd: raw(self.map.fd().as_fd()),
                ..BatchAttr::default()
            };
            // SAFETY: the kernel reads at most `count` keys, which are as long as the map's.
            let result = unsafe { bpf(Command::MapDeleteBatch, &mut attr) };
            let deleted = attr.count as usize;
            match result {
                Ok(_) => keys = keys.get(deleted..).unwrap_or_default(),
                // The kernel stops at a key that is missing, and says how many it has done.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    keys = keys.get(deleted + 1..).unwrap_or_default();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// All elements of a table whose keys nobody else changes meanwhile.
    pub(crate) fn elements(&self) -> io::Result<Vec<(K, V)>> {
        let mut elements: Vec<(K, V)> = Vec::new();
        loop {
            let mut key = K::new_zeroed();
            let last = elements.last().map(|(key, _)| key.as_bytes());
            if !next_key(self.map.fd().as_fd(), last, key.as_mut_bytes())? {
                return Ok(elements);
            }
            let Some(value) = self.get(&key)? else {
                return Err(io::Error::other("an element went while its table was read"));
            };
            elements.push((key, value));
        }
    }

    /// Copies whole buckets of a hash table from `cursor` on into `keys` and `values`, which are
    /// equally long.
    ///
    /// # Errors
    /// `ENOSPC` if the next bucket alone is larger than the buffers: call again with larger ones,
    /// the cursor has not moved.
    pub(crate) fn read(
        &self,
        cursor: &mut Cursor,
        keys: &mut [K],
        values: &mut [V],
    ) -> io::Result<Batch> {
        let room = keys.len().min(values.len());
        let mut next = 0_u32;
        let mut attr = BatchAttr {
            in_batch: cursor.0.as_ref().map_or(0, |bucket| address(bucket)),
            out_batch: address(&raw mut next),
            keys: address(keys.as_mut_ptr()),
            values: address(values.as_mut_ptr()),
            count: u32::try_from(room).unwrap_or(u32::MAX),
            map_fd: raw(self.map.fd().as_fd()),
            ..BatchAttr::default()
        };
        // SAFETY: the kernel writes at most `count` keys and values, which are as long as the
        // map's, and one u32 at `out_batch`; it reads one at `in_batch` if that is not 0.
        let end = match unsafe { bpf(Command::MapLookupBatch, &mut attr) } {
            Ok(_) => false,
            // The walk reached the last bucket; `count` elements came with it.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        cursor.0 = Some(next);
        Ok(Batch {
            count: attr.count as usize,
            end,
        })
    }
}
