//! Hands in the pinned state: what a process that is killed between two steps leaves behind.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData};
use sensor_ebpf::abi::map;

use super::Bed;

/// Where `META` has the version of the layouts, and the last recorded generation.
const ABI: usize = 8;
pub(super) const RECORDED: usize = 16;

/// Length of `META`'s value.
const META: usize = 2464;

type Meta = aya::maps::Array<MapData, [u8; META]>;

impl Bed {
    /// The only folder of maps.
    pub(super) fn state(&self) -> Result<PathBuf> {
        let mut states = fs::read_dir(&self.folder)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| !path.ends_with("links"));
        let state = states.next().context("no state")?;
        anyhow::ensure!(states.next().is_none(), "several states");
        Ok(state)
    }

    fn meta(&self) -> Result<Meta> {
        let map = MapData::from_pin(self.state()?.join("META"))?;
        let bytes = map.info()?.value_size() as usize;
        anyhow::ensure!(bytes == META, "META has {bytes} bytes instead of {META}");
        Ok(Meta::try_from(Map::Array(map))?)
    }

    /// Reads a word of `META`.
    pub(super) fn word(&self, at: usize) -> Result<u64> {
        let value = self.meta()?.get(&0, 0)?;
        Ok(u64::from_ne_bytes(value[at..at + 8].try_into()?))
    }

    /// Writes a word of `META`.
    pub(super) fn set_word(&self, at: usize, word: u64) -> Result<()> {
        let mut meta = self.meta()?;
        let mut value = meta.get(&0, 0)?;
        value[at..at + 8].copy_from_slice(&word.to_ne_bytes());
        Ok(meta.set(0, value, 0)?)
    }

    /// Makes the state one that another version has left; where it was before.
    pub(super) fn of_another_version(&self) -> Result<PathBuf> {
        self.set_word(ABI, self.word(ABI)? + 1)?;
        let state = self.state()?;
        fs::rename(&state, state.with_file_name("state-0123456789abcdef"))?;
        Ok(state)
    }

    /// Flips the epoch, and returns the number of the generation before.
    pub(super) fn flip(&self) -> Result<u64> {
        let map = MapData::from_pin(self.state()?.join(map::EPOCH))?;
        let mut epoch = aya::maps::Array::<_, u64>::try_from(Map::Array(map))?;
        let old = epoch.get(&0, 0)?;
        epoch.set(0, old + 1, 0)?;
        Ok(old)
    }
}
