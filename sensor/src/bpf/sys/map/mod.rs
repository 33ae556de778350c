//! Maps: what all kinds have in common, and their making.

mod array;
mod grace;
mod keys;
mod per_cpu;
mod table;

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
    keys::KeySet,
    per_cpu::{PerCpuArray, PerCpuHeads},
    table::{Cursor, Table},
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
struct ElementAttr {
    map_fd: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
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
fn check_sizes(map: &MapData, key: usize, value: usize) -> io::Result<u32> {
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
    // SAFETY: the kernel writes one value, which the caller knows to be `bytes` long.
    unsafe { look_up(map.fd().as_fd(), &0_u32, value.as_mut_ptr())? };
    V::read_from_prefix(&value)
        .map(|(head, _)| head)
        .map_err(|_| io::ErrorKind::UnexpectedEof.into())
}

/// Copies the value of an element to `value`.
///
/// # Safety
///
/// The map's keys are as long as `K`, and `value` has room for one of its values; for those of
/// every possible CPU, each rounded up to 8 bytes, where each CPU has its own.
unsafe fn look_up<K>(map: BorrowedFd<'_>, key: &K, value: *mut u8) -> io::Result<()>
where
    K: IntoBytes + Immutable,
{
    let mut attr = ElementAttr {
        map_fd: raw(map),
        key: address(key),
        value: address(value),
        ..ElementAttr::default()
    };
    // SAFETY: the kernel reads one key and writes to `value` what the caller has made room for.
    unsafe { bpf(Command::MapLookup, &mut attr).map(drop) }
}

/// Sets one element. The map's key and value are as long as `key` and `value`: the caller has
/// checked.
fn update<K, V>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()>
where
    K: IntoBytes + Immutable + ?Sized,
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

/// Deletes one element, whose key is as long as the map's; one that is not there is no error.
fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    let mut attr = ElementAttr {
        map_fd: raw(map),
        key: address(key),
        ..ElementAttr::default()
    };
    // SAFETY: the kernel reads one key.
    match unsafe { bpf(Command::MapDelete, &mut attr) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Copies to `next` the key after `key`, or the first one; both are as long as the map's. False if
/// there is none.
fn next_key(map: BorrowedFd<'_>, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
    let mut attr = ElementAttr {
        map_fd: raw(map),
        key: key.map_or(0, |key| address(key)),
        value: address(next.as_mut_ptr()),
        ..ElementAttr::default()
    };
    // SAFETY: the kernel reads one key, unless its address is 0, and writes one.
    match unsafe { bpf(Command::MapNextKey, &mut attr) } {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
