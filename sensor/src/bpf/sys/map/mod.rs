//! Maps: what all kinds have in common, and their making.

mod array;
mod grace;
mod hash;
mod keys;
mod per_cpu;

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use aya::maps::MapData;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Command, address, bpf, bpf_fd};

pub(crate) use self::{
    array::{Array, OuterArray},
    grace::GracePeriod,
    hash::{Cursor, HashTable},
    keys::KeySet,
    per_cpu::{PerCpuArray, PerCpuHeads},
};

const BPF_MAP_TYPE_HASH: u32 = 1;
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

/// Makes a hash table from `K` to `V`.
pub(crate) fn create_table<K, V>(entries: u32, name: &[u8]) -> io::Result<OwnedFd> {
    let size = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
    let sizes = (size(size_of::<K>())?, size(size_of::<V>())?);
    create(BPF_MAP_TYPE_HASH, sizes, entries, None, name)
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
