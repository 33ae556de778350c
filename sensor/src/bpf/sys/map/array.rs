//! Arrays of values, and of maps.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, BorrowedFd},
};

use aya::maps::MapData;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{check_sizes, look_up, raw, update};

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
        // SAFETY: the kernel writes one value, which is as long as the map's.
        unsafe { look_up(self.map.fd().as_fd(), &index, (&raw mut value).cast())? };
        Ok(value)
    }
}
