//! `ARRAY` maps made with `BPF_F_MMAPABLE` (Linux 5.5), read as memory.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _},
    ptr::NonNull,
};

use aya::maps::MapData;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// An array of `V`, of which several may make up one element of the map.
#[derive(Debug)]
pub(crate) struct MappedArray<V> {
    map: MapData,
    len: usize,
    _value: PhantomData<V>,
}

/// Some of the values of a [`MappedArray`], for as long as it lives. While it does, its pages
/// count as this process's resident memory, although the map has them in any case.
#[derive(Debug)]
pub(crate) struct Window<V> {
    start: NonNull<u8>,
    /// Bytes that are mapped.
    mapped: usize,
    values: NonNull<V>,
    len: usize,
}

impl<V: IntoBytes + FromBytes + Immutable> MappedArray<V> {
    /// The map's elements are as long as some whole number of `V`, a multiple of 8 bytes.
    pub(crate) fn new(map: MapData) -> io::Result<Self> {
        const { assert!(size_of::<V>().is_multiple_of(8) && align_of::<V>() <= 8) };
        let info = map.info().map_err(io::Error::other)?;
        let value_size = info.value_size() as usize;
        if info.key_size() != 4 || !value_size.is_multiple_of(size_of::<V>()) {
            return Err(io::Error::other(format!(
                "values of {value_size} bytes, which do not consist of {} bytes each",
                size_of::<V>()
            )));
        }
        Ok(Self {
            map,
            len: info.max_entries() as usize * (value_size / size_of::<V>()),
            _value: PhantomData,
        })
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Maps `len` values from `first` on.
    pub(crate) fn window(&self, first: usize, len: usize) -> io::Result<Window<V>> {
        let end = first.checked_add(len).filter(|end| *end <= self.len);
        let (Some(end), true) = (end, len > 0) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // SAFETY: asks for a constant of the system.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })
            .map_err(io::Error::other)?;
        let (from, to) = (first * size_of::<V>(), end * size_of::<V>());
        let offset = from / page * page;
        let mapped = to - offset;
        // SAFETY: makes a new mapping, which replaces none.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                self.map.fd().as_fd().as_raw_fd(),
                libc::off_t::try_from(offset).map_err(io::Error::other)?,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Window {
            start,
            mapped,
            // SAFETY: the offset lies within what was mapped.
            values: unsafe { start.add(from - offset) }.cast(),
            len,
        })
    }
}

// SAFETY: the memory belongs to the window alone, whichever thread has it.
unsafe impl<V: Send> Send for Window<V> {}

impl<V: IntoBytes + FromBytes + Immutable> Window<V> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// A copy of the value at `index`. A program may be writing to it: then words of it are old
    /// and others new.
    pub(crate) fn get(&self, index: usize) -> Option<V> {
        // SAFETY: within the mapping, aligned, and any bytes are a value; volatile, since
        // programs write to it behind the compiler's back.
        (index < self.len).then(|| unsafe { self.values.add(index).read_volatile() })
    }

    /// Replaces the value at `index`, if there is one.
    pub(crate) fn set(&mut self, index: usize, value: V) {
        if index < self.len {
            // SAFETY: as above.
            unsafe { self.values.add(index).write_volatile(value) };
        }
    }
}

impl<V> Drop for Window<V> {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what was mapped, of which nobody holds a reference.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped) };
    }
}
