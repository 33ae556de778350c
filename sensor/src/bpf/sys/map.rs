//! Maps: typed hash tables in batches, per-CPU arrays, rings, and the grace period.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use aya::maps::MapData;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Command, address, bpf, bpf_fd};

const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;
const BPF_MAP_TYPE_RINGBUF: u32 = 27;

#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; 16],
}

#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct ElementAttr {
    pub(super) map_fd: u32,
    pub(super) _pad: u32,
    pub(super) key: u64,
    pub(super) value: u64,
    pub(super) flags: u64,
}

#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct BatchAttr {
    pub(super) in_batch: u64,
    pub(super) out_batch: u64,
    pub(super) keys: u64,
    pub(super) values: u64,
    pub(super) count: u32,
    pub(super) map_fd: u32,
    pub(super) elem_flags: u64,
    pub(super) flags: u64,
}

pub(super) fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn create(
    map_type: u32,
    sizes: (u32, u32),
    max_entries: u32,
    inner: Option<BorrowedFd<'_>>,
    name: &[u8],
) -> io::Result<OwnedFd> {
    let mut attr = CreateAttr {
        map_type,
        key_size: sizes.0,
        value_size: sizes.1,
        max_entries,
        inner_map_fd: inner.map_or(0, raw),
        ..CreateAttr::default()
    };
    for (to, from) in attr.name[..15].iter_mut().zip(name) {
        *to = *from;
    }
    // SAFETY: BPF_MAP_CREATE reads the attributes only.
    unsafe { bpf_fd(Command::MapCreate, &mut attr) }
}

/// Makes a ring of `bytes` bytes, a power of two and a multiple of the page size.
pub(crate) fn create_ring(bytes: u32) -> io::Result<OwnedFd> {
    create(BPF_MAP_TYPE_RINGBUF, (0, 0), bytes, None, b"sample_ring")
}

/// Makes an array of one value of `bytes` bytes.
pub(crate) fn create_value(bytes: u32, name: &[u8]) -> io::Result<OwnedFd> {
    create(BPF_MAP_TYPE_ARRAY, (4, bytes), 1, None, name)
}

/// Refuses a map whose keys or values are not as long as this process thinks.
pub(super) fn check_sizes(map: &MapData, key: usize, value: usize) -> io::Result<u32> {
    let info = map.info().map_err(io::Error::other)?;
    let found = (info.key_size() as usize, info.value_size() as usize);
    if found != (key, value) {
        return Err(io::Error::other(format!(
            "keys and values of {found:?} bytes instead of ({key}, {value})"
        )));
    }
    Ok(info.max_entries())
}

/// Bytes of a map's values.
pub(crate) fn value_size(map: &MapData) -> io::Result<usize> {
    Ok(map.info().map_err(io::Error::other)?.value_size() as usize)
}

/// The head of the first value of an array whose values are `bytes` long, which is at least as
/// long as `V`.
pub(crate) fn read_prefix<V: FromBytes>(map: &MapData, bytes: usize) -> io::Result<V> {
    let mut value = vec![0_u8; bytes];
    let key = 0_u32;
    let mut attr = ElementAttr {
        map_fd: raw(map.fd().as_fd()),
        key: address(&raw const key),
        value: address(value.as_mut_ptr()),
        ..ElementAttr::default()
    };
    // SAFETY: the kernel writes one value, which the caller knows to be `bytes` long.
    unsafe { bpf(Command::MapLookup, &mut attr)? };
    V::read_from_prefix(&value)
        .map(|(head, _)| head)
        .map_err(|_| io::ErrorKind::UnexpectedEof.into())
}

/// A grace period of RCU on demand.
///
/// Replacing an inner map makes the kernel wait until no program can hold the old one:
/// `maybe_wait_bpf_programs()` in `kernel/bpf/syscall.c` calls `synchronize_rcu()` after an update
/// of a map of maps (commit 1ae80cf31938, Linux 4.18). XDP, TC and test runs all happen
/// inside one RCU read-side section each, and read the epoch in it; so when the update returns,
/// every program that has read the old epoch has ended.
#[derive(Debug)]
pub(crate) struct GracePeriod {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl GracePeriod {
    /// Makes both maps, so that none has to be made later, when capabilities may be gone.
    pub(crate) fn new() -> io::Result<Self> {
        let inner = create(BPF_MAP_TYPE_ARRAY, (4, 4), 1, None, b"grace_inner")?;
        let outer = create(
            BPF_MAP_TYPE_ARRAY_OF_MAPS,
            (4, 4),
            1,
            Some(inner.as_fd()),
            b"grace",
        )?;
        Ok(Self { outer, inner })
    }

    /// Returns when every program that was running has ended.
    pub(crate) fn wait(&self) -> io::Result<()> {
        update(self.outer.as_fd(), &0_u32, &raw(self.inner.as_fd()))
    }
}

/// Sets one element. The map's key and value are as long as `K` and `V`: the caller has checked.
fn update<K, V>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()>
where
    K: IntoBytes + Immutable,
    V: IntoBytes + Immutable + ?Sized,
{
    let mut attr = ElementAttr {
        map_fd: raw(map),
        key: address(key),
        value: address(value),
        ..ElementAttr::default()
    };
    // SAFETY: the kernel reads one key and one value, which are as long as the map's.
    unsafe { bpf(Command::MapUpdate, &mut attr).map(drop) }
}

/// An array of maps, of which this process puts inner maps in and never asks for one.
#[derive(Debug)]
pub(crate) struct OuterArray {
    map: MapData,
    len: u32,
}

impl OuterArray {
    pub(crate) fn new(map: MapData) -> io::Result<Self> {
        let len = check_sizes(&map, 4, 4)?;
        Ok(Self { map, len })
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn set(&self, index: u32, inner: BorrowedFd<'_>) -> io::Result<()> {
        update(self.map.fd().as_fd(), &index, &raw(inner))
    }
}

/// `ARRAY` of `V`.
#[derive(Debug)]
pub(crate) struct Array<V> {
    map: MapData,
    _value: PhantomData<V>,
}

impl<V: IntoBytes + Immutable> Array<V> {
    pub(crate) fn new(map: MapData) -> io::Result<Self> {
        check_sizes(&map, 4, size_of::<V>())?;
        Ok(Self {
            map,
            _value: PhantomData,
        })
    }

    pub(crate) fn set(&self, index: u32, value: &V) -> io::Result<()> {
        update(self.map.fd().as_fd(), &index, value)
    }
}

impl<V: IntoBytes + FromBytes + Immutable> Array<V> {
    pub(crate) fn get(&self, index: u32) -> io::Result<V> {
        let mut value = V::new_zeroed();
        let mut attr = ElementAttr {
            map_fd: raw(self.map.fd().as_fd()),
            key: address(&raw const index),
            value: address(&raw mut value),
            ..ElementAttr::default()
        };
        // SAFETY: the kernel writes one value, which is as long as the map's.
        unsafe { bpf(Command::MapLookup, &mut attr)? };
        Ok(value)
    }
}

/// `PERCPU_ARRAY` of `V`.
#[derive(Debug)]
pub(crate) struct PerCpuArray<V> {
    map: MapData,
    /// One value for each possible CPU.
    values: Vec<V>,
}

impl<V: IntoBytes + FromBytes + Immutable + Clone> PerCpuArray<V> {
    pub(crate) fn new(map: MapData, cpus: usize) -> io::Result<Self> {
        // The kernel rounds each CPU's value up to 8 bytes.
        const { assert!(size_of::<V>().is_multiple_of(8)) };
        check_sizes(&map, 4, size_of::<V>())?;
        Ok(Self {
            map,
            values: vec![V::new_zeroed(); cpus],
        })
    }

    /// Every CPU's value at `index`.
    pub(crate) fn read(&mut self, index: u32) -> io::Result<&[V]> {
        let mut attr = ElementAttr {
            map_fd: raw(self.map.fd().as_fd()),
            key: address(&raw const index),
            value: address(self.values.as_mut_ptr()),
            ..ElementAttr::default()
        };
        // SAFETY: the kernel writes a value for each possible CPU, and `values` is as long.
        unsafe { bpf(Command::MapLookup, &mut attr)? };
        Ok(&self.values)
    }

    /// Zeroes every CPU's value at `index`.
    pub(crate) fn zero(&mut self, index: u32) -> io::Result<()> {
        self.values.as_mut_slice().zero();
        update(self.map.fd().as_fd(), &index, self.values.as_slice())
    }
}

/// A `PERCPU_ARRAY` of which only the first eight bytes of each value are known.
#[derive(Debug)]
pub(crate) struct PerCpuHeads {
    map: MapData,
    len: u32,
    value_bytes: usize,
    values: Vec<u8>,
}

impl PerCpuHeads {
    pub(crate) fn new(map: MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        let value_bytes = (info.value_size() as usize).next_multiple_of(8);
        Ok(Self {
            len: info.max_entries(),
            value_bytes,
            values: vec![0; value_bytes * cpus],
            map,
        })
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// The sum over all CPUs.
    pub(crate) fn sum(&mut self, index: u32) -> io::Result<u64> {
        let mut attr = ElementAttr {
            map_fd: raw(self.map.fd().as_fd()),
            key: address(&raw const index),
            value: address(self.values.as_mut_ptr()),
            ..ElementAttr::default()
        };
        // SAFETY: the kernel writes a value for each possible CPU, rounded up to 8 bytes each.
        unsafe { bpf(Command::MapLookup, &mut attr)? };
        let heads = self.values.chunks(self.value_bytes);
        Ok(heads
            .filter_map(|value| u64::read_from_prefix(value).ok())
            .map(|(head, _)| head)
            .sum())
    }
}

trait Zero {
    fn zero(&mut self);
}

impl<V: IntoBytes + FromBytes> Zero for [V] {
    fn zero(&mut self) {
        zerocopy::FromZeros::zero(self);
    }
}

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

/// A map of which only the keys matter (`HASH` or `LPM_TRIE` with values of one byte).
#[derive(Debug)]
pub(crate) struct KeySet {
    map: MapData,
    key_len: usize,
    keys: Vec<Vec<u8>>,
}

impl KeySet {
    pub(crate) fn new(map: MapData) -> io::Result<Self> {
        let key_len = map.info().map_err(io::Error::other)?.key_size() as usize;
        check_sizes(&map, key_len, 1)?;
        Ok(Self {
            map,
            key_len,
            keys: Vec::new(),
        })
    }

    /// Learns which keys an earlier process has left in the map.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        let mut key: Option<Vec<u8>> = None;
        loop {
            let mut next = vec![0; self.key_len];
            let mut attr = ElementAttr {
                map_fd: raw(self.map.fd().as_fd()),
                key: key.as_ref().map_or(0, |key| address(key.as_ptr())),
                value: address(next.as_mut_ptr()),
                ..ElementAttr::default()
            };
            // SAFETY: the kernel reads one key, unless the address is 0, and writes one.
            match unsafe { bpf(Command::MapNextKey, &mut attr) } {
                Ok(_) => self.keys.push(next.clone()),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
                Err(error) => return Err(error),
            }
            key = Some(next);
        }
    }

    /// Makes the map hold exactly `keys`: the new ones come in before the old ones go.
    pub(crate) fn replace<K: IntoBytes + Immutable>(&mut self, keys: &[K]) -> io::Result<()> {
        if size_of::<K>() != self.key_len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let new: Vec<_> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        for key in &new {
            self.call(Command::MapUpdate, key)?;
            if !self.keys.contains(key) {
                self.keys.push(key.clone());
            }
        }
        for key in std::mem::take(&mut self.keys) {
            if new.contains(&key) {
                self.keys.push(key);
            } else {
                self.call(Command::MapDelete, &key)?;
            }
        }
        Ok(())
    }

    /// `key` is as long as the map's, as all that come here are.
    fn call(&self, command: Command, key: &[u8]) -> io::Result<()> {
        let mut attr = ElementAttr {
            map_fd: raw(self.map.fd().as_fd()),
            key: address(key),
            value: address(&raw const PRESENT),
            ..ElementAttr::default()
        };
        if matches!(command, Command::MapDelete) {
            attr.value = 0;
        }
        // SAFETY: the kernel reads one key and, to update, one value of a byte.
        unsafe { bpf(command, &mut attr).map(drop) }
    }
}

/// The value of every key of a [`KeySet`].
static PRESENT: u8 = 1;
