//! Arrays with a value for each CPU.

use std::{io, os::fd::AsFd as _};

use aya::maps::MapData;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{check_sizes, look_up, update};

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
        let values = self.values.as_mut_ptr().cast();
        // SAFETY: the kernel writes a value for each possible CPU, and `values` is as long.
        unsafe { look_up(self.map.fd().as_fd(), &index, values)? };
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
        let values = self.values.as_mut_ptr();
        // SAFETY: the kernel writes a value for each possible CPU, rounded up to 8 bytes each.
        unsafe { look_up(self.map.fd().as_fd(), &index, values)? };
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
