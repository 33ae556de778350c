//! Sets of keys.

use std::{io, os::fd::AsFd as _};

use aya::maps::MapData;
use zerocopy::{Immutable, IntoBytes};

use super::{
    super::{Command, address, bpf},
    ElementAttr, check_sizes, raw,
};

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
