//! One set of pinned maps.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use aya::maps::MapData;

use super::{
    super::sys::{
        map::{Array, create_value, value_size},
        pin,
    },
    Head, Meta, PinError,
};

const META: &str = "META";

/// A folder of maps whose layouts have this number. Whether it is whole shows [`State::meta`]:
/// its map comes last.
#[derive(Debug)]
pub(in super::super) struct State {
    path: PathBuf,
    number: u64,
}

/// What a state says of itself.
#[derive(Debug)]
pub(in super::super) enum Found {
    /// All of it.
    Known(Box<Meta>),
    /// It was made by a version with other layouts.
    Other(Head),
    /// It was never finished.
    Unfinished,
}

impl State {
    pub(super) const fn new(path: PathBuf, number: u64) -> Self {
        Self { path, number }
    }

    pub(in super::super) const fn number(&self) -> u64 {
        self.number
    }

    /// Where a map is pinned.
    pub(in super::super) fn map(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a pinned map; `None` if it is missing.
    pub(in super::super) fn open(&self, name: &str) -> io::Result<Option<MapData>> {
        let fd = pin::open(&self.map(name))?;
        fd.map(|fd| MapData::from_fd(fd).map_err(io::Error::other))
            .transpose()
    }

    /// Names of the maps that are pinned.
    pub(in super::super) fn names(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    /// Pins a map that this process has made.
    pub(in super::super) fn pin(&self, name: &str, map: &OwnedFd) -> io::Result<()> {
        pin::pin(map.as_fd(), &self.map(name))
    }

    /// An error of reading one of its maps.
    pub(super) fn unreadable(&self, source: io::Error) -> PinError {
        PinError::system(&self.path, "its state could not be read", source)
    }

    /// An error of writing one of its maps.
    pub(super) fn unwritable(&self, source: io::Error) -> PinError {
        PinError::system(&self.path, "its state could not be written", source)
    }

    /// Reads what the state says of itself.
    pub(in super::super) fn meta(&self) -> Result<Found, PinError> {
        self.read_meta().map_err(|source| self.unreadable(source))
    }

    fn read_meta(&self) -> io::Result<Found> {
        let Some(map) = self.open(META)? else {
            return Ok(Found::Unfinished);
        };
        let bytes = value_size(&map)?;
        if bytes == size_of::<Meta>() {
            let meta = Array::<Meta>::new(map)?.get(0)?;
            if meta.head.is_known() {
                return Ok(Found::Known(Box::new(meta)));
            }
            return Ok(Found::Other(meta.head));
        }
        if bytes < size_of::<Head>() {
            return Ok(Found::Unfinished);
        }
        super::super::sys::map::read_prefix(&map, bytes).map(Found::Other)
    }

    /// The map that says what the state is, made if it is missing.
    pub(in super::super) fn open_meta(&self, meta: &Meta) -> Result<Array<Meta>, PinError> {
        let open = || -> io::Result<Array<Meta>> {
            if let Some(map) = self.open(META)? {
                return Array::new(map);
            }
            let bytes = u32::try_from(size_of::<Meta>()).map_err(io::Error::other)?;
            let fd = create_value(bytes, b"sensor_meta")?;
            let pinned = fd.try_clone()?;
            let map = Array::new(MapData::from_fd(fd).map_err(io::Error::other)?)?;
            // Whole before it has a name.
            map.set(0, meta)?;
            self.pin(META, &pinned)?;
            Ok(map)
        };
        open().map_err(|source| self.unwritable(source))
    }

    /// Removes all of it; programs that still use the maps keep them.
    pub(in super::super) fn remove(&self) -> Result<(), PinError> {
        // The mark of a whole state first: what remains after a failure is unfinished.
        remove_file(&self.map(META))?;
        fs::remove_dir_all(&self.path)
            .map_err(|source| PinError::system(&self.path, "it could not be removed", source))
    }

    /// Empties the folder of a state that was never finished.
    pub(in super::super) fn clear(&self) -> Result<(), PinError> {
        let failed = |source| PinError::system(&self.path, "it could not be emptied", source);
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            remove_file(&entry.map_err(failed)?.path())?;
        }
        Ok(())
    }
}

fn remove_file(path: &Path) -> Result<(), PinError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(PinError::system(path, "it could not be removed", error))
        }
        _ => Ok(()),
    }
}
