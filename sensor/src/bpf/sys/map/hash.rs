//! Hash tables, read and cleared in batches.

use std::{io, marker::PhantomData, os::fd::AsFd as _};

use aya::maps::MapData;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    super::{Command, address, bpf},
    BatchAttr, check_sizes, raw, update,
};

/// Where a batched walk over a hash table stands: the kernel's bucket number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor(Option<u32>);

/// `HASH` from `K` to `V`, read and cleared in batches (Linux 5.6).
#[derive(Debug)]
pub(crate) struct HashTable<K, V> {
    map: MapData,
    _types: PhantomData<(K, V)>,
}

/// What a batched look-up gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Elements at the front of both buffers.
    pub(crate) count: usize,
    /// The walk is over.
    pub(crate) end: bool,
}

impl<K, V> HashTable<K, V>
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

    /// Copies whole buckets from `cursor` on into `keys` and `values`, which are equally long.
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

    /// Adds an element, or replaces its value.
    pub(crate) fn set(&self, key: &K, value: &V) -> io::Result<()> {
        update(self.map.fd().as_fd(), key, value)
    }

    /// [`HashTable::read`] that makes the buffers larger where a bucket asks for it.
    pub(crate) fn read_growing(
        &self,
        cursor: &mut Cursor,
        keys: &mut Vec<K>,
        values: &mut Vec<V>,
    ) -> io::Result<Batch> {
        loop {
            match self.read(cursor, keys, values) {
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    let double = 2 * keys.len();
                    keys.resize_with(double, K::new_zeroed);
                    values.resize_with(double, V::new_zeroed);
                }
                result => return result,
            }
        }
    }

    /// All elements of a table that nothing changes meanwhile; `expected` of them fit at once.
    pub(crate) fn all(&self, expected: usize) -> io::Result<Vec<(K, V)>>
    where
        K: Copy,
        V: Copy,
    {
        let mut keys = Vec::new();
        keys.resize_with(expected, K::new_zeroed);
        let mut values = Vec::new();
        values.resize_with(expected, V::new_zeroed);
        let mut all = Vec::new();
        let mut cursor = Cursor::default();
        loop {
            let batch = self.read_growing(&mut cursor, &mut keys, &mut values)?;
            let read = keys.iter().copied().zip(values.iter().copied());
            all.extend(read.take(batch.count));
            if batch.end {
                return Ok(all);
            }
        }
    }

    /// Deletes `keys`; those that are not there are skipped.
    pub(crate) fn delete(&self, mut keys: &[K]) -> io::Result<()> {
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
}
