//! The folder on a BPF file system: what is in it, and who may use it.
//!
//! ```text
//! PATH/state-<layout>/META         what the state says of itself
//! PATH/state-<layout>/<MAP>        every map of the object
//! PATH/state-<layout>/RING_<cpu>   the sample rings
//! PATH/links/xdp-<ifindex>         what keeps the programs on a device
//! PATH/links/tcx-<ifindex>         at egress
//! PATH/links/ingress-<ifindex>     at TCX ingress, in passive mode instead of XDP
//! ```
//!
//! Links stand beside the states, because they outlive one: where layouts have changed, a link's
//! program is replaced by one that counts into the maps of the new state.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsFd as _, unix::fs::DirBuilderExt as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{
    super::sys::{link::Link, pin},
    PinError,
    state::State,
};

const STATE: &str = "state-";
const LINKS: &str = "links";

/// What a link keeps on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum LinkKind {
    Xdp,
    TcxIngress,
    TcxEgress,
}

impl LinkKind {
    const ALL: [Self; 3] = [Self::Xdp, Self::TcxIngress, Self::TcxEgress];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Xdp => "xdp-",
            Self::TcxIngress => "ingress-",
            Self::TcxEgress => "tcx-",
        }
    }
}

/// The folder, for as long as this process is the only one to use it.
#[derive(Debug)]
pub(in super::super) struct Directory {
    path: PathBuf,
    /// Whoever has it open with a lock owns the folder.
    lock: File,
}

impl Directory {
    /// Makes the folder if it is missing, and takes it.
    pub(in super::super) fn open(path: &Path) -> Result<Self, PinError> {
        if !path.exists() {
            let parent = path.parent().unwrap_or(path);
            on_bpf_fs(parent)?;
            make(path)?;
        }
        let directory = Self::take(path)?;
        make(&directory.path.join(LINKS))?;
        Ok(directory)
    }

    /// Takes the folder if there is one.
    pub(in super::super) fn existing(path: &Path) -> Result<Option<Self>, PinError> {
        if path.exists() {
            Self::take(path).map(Some)
        } else {
            Ok(None)
        }
    }

    pub(in super::super) fn path(&self) -> &Path {
        &self.path
    }

    fn take(path: &Path) -> Result<Self, PinError> {
        on_bpf_fs(path)?;
        let lock = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(path)
            .map_err(|source| PinError::system(path, "it could not be opened", source))?;
        let locked = pin::lock(lock.as_fd())
            .map_err(|source| PinError::system(path, "it could not be locked", source))?;
        if !locked {
            return Err(PinError::Busy {
                path: path.to_owned(),
            });
        }
        for name in names(path)? {
            if name != LINKS && state_number(&name).is_none() {
                return Err(PinError::NotOurs {
                    path: path.to_owned(),
                    entry: name,
                });
            }
        }
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    /// The state with layouts of that number, which is made if it is missing, and those with
    /// others.
    pub(in super::super) fn states(&self, number: u64) -> Result<(State, Vec<State>), PinError> {
        let (own, others) = states(&self.path)?
            .into_iter()
            .partition::<Vec<_>, _>(|state| state.number() == number);
        let own = match own.into_iter().next() {
            Some(own) => own,
            None => {
                let path = self.path.join(format!("{STATE}{number:016x}"));
                make(&path)?;
                State::new(path, number)
            }
        };
        Ok((own, others))
    }

    /// The pinned link to the device with that index, if there is one that the kernel has not
    /// taken off; what is left of others is removed.
    pub(in super::super) fn link(
        &self,
        kind: LinkKind,
        ifindex: u32,
    ) -> Result<Option<Link>, PinError> {
        let path = self.link_path(kind, ifindex);
        let failed = |source| PinError::system(&path, "the link could not be looked at", source);
        let Some(link) = pin::open(&path).map_err(failed)?.map(Link::from) else {
            return Ok(None);
        };
        if link.ifindex().map_err(failed)? == Some(ifindex) {
            return Ok(Some(link));
        }
        self.unpin_link(kind, ifindex)?;
        Ok(None)
    }

    pub(in super::super) fn pin_link(
        &self,
        link: &Link,
        kind: LinkKind,
        ifindex: u32,
    ) -> Result<(), PinError> {
        let path = self.link_path(kind, ifindex);
        pin::pin(link.as_fd(), &path)
            .map_err(|source| PinError::system(&path, "the link could not be pinned", source))
    }

    /// Removes the pin, and takes the program off the device.
    pub(in super::super) fn unpin_link(
        &self,
        kind: LinkKind,
        ifindex: u32,
    ) -> Result<(), PinError> {
        let path = self.link_path(kind, ifindex);
        let opened = pin::open(&path)
            .map_err(|source| PinError::system(&path, "the link could not be opened", source))?;
        let removed = fs::remove_file(&path);
        // Without its pin alone the link would end at some later time; and the pin of one that was
        // taken off would stay for as long as that takes, should this process be killed. One whose
        // device is gone has nothing to be taken off.
        if let Some(Err(error)) = opened.map(|link| Link::from(link).detach())
            && error.raw_os_error() != Some(libc::ENOLINK)
        {
            tracing::debug!(ifindex, %error, "The link was not taken off with its pin");
        }
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PinError::system(
                &path,
                "the link's pin could not be removed",
                error,
            )),
            _ => Ok(()),
        }
    }

    /// Indices of the devices that have a pinned link.
    pub(in super::super) fn linked(&self) -> Result<Vec<u32>, PinError> {
        let path = self.path.join(LINKS);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let mut indices: Vec<u32> = names(&path)?
            .iter()
            .filter_map(|name| {
                let prefix = LinkKind::ALL.map(LinkKind::prefix);
                prefix
                    .iter()
                    .find_map(|prefix| name.strip_prefix(prefix))
                    .and_then(|index| index.parse().ok())
            })
            .collect();
        indices.sort_unstable();
        indices.dedup();
        Ok(indices)
    }

    /// Removes all links to a device.
    pub(in super::super) fn unpin_device(&self, ifindex: u32) -> Result<(), PinError> {
        LinkKind::ALL
            .iter()
            .try_for_each(|kind| self.unpin_link(*kind, ifindex))
    }

    /// Removes everything: first what is on the devices, then what it counts into.
    pub(in super::super) fn remove(&self) -> Result<(), PinError> {
        for ifindex in self.linked()? {
            self.unpin_device(ifindex)?;
        }
        for state in states(&self.path)? {
            state.remove()?;
        }
        let links = self.path.join(LINKS);
        if links.exists() {
            fs::remove_dir(&links)
                .map_err(|source| PinError::system(&links, "it could not be removed", source))?;
        }
        // Whoever made the folder for an unprivileged sensor keeps it.
        if let Err(error) = fs::remove_dir(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "The empty folder stays");
        }
        Ok(())
    }

    fn link_path(&self, kind: LinkKind, ifindex: u32) -> PathBuf {
        self.path
            .join(LINKS)
            .join(format!("{}{ifindex}", kind.prefix()))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing would do, unless another thread is starting a program at this moment: its child
        // has the descriptor, too, until it executes.
        pin::unlock(self.lock.as_fd());
    }
}

/// The states in a folder.
pub(super) fn states(path: &Path) -> Result<Vec<State>, PinError> {
    let names = names(path)?;
    Ok(names
        .iter()
        .filter_map(|name| Some(State::new(path.join(name), state_number(name)?)))
        .collect())
}

fn state_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix(STATE).filter(|text| text.len() == 16)?;
    u64::from_str_radix(number, 16).ok()
}

fn names(path: &Path) -> Result<Vec<String>, PinError> {
    let failed = |source| PinError::system(path, "it could not be listed", source);
    let entries = fs::read_dir(path).map_err(failed)?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    Ok(names)
}

fn on_bpf_fs(path: &Path) -> Result<(), PinError> {
    match pin::is_bpf_fs(path) {
        Ok(true) => Ok(()),
        Ok(false) => Err(PinError::NoFileSystem {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(PinError::NoFileSystem {
            path: path.to_owned(),
        }),
        Err(error) => Err(PinError::system(path, "it could not be looked at", error)),
    }
}

/// Makes a folder for this user alone, unless it is there.
fn make(path: &Path) -> Result<(), PinError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(PinError::system(path, "it could not be made", error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_name_a_state() {
        assert_eq!(state_number("state-00000000000000ff"), Some(255));
        assert_eq!(state_number("state-ff"), None);
        assert_eq!(state_number("state-00000000000000fg"), None);
        assert_eq!(state_number("links"), None);
    }

    #[test]
    fn an_ordinary_folder_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in [folder.path().to_owned(), folder.path().join("missing")] {
            let error = Directory::open(&path).expect_err("not a BPF file system");
            assert!(matches!(error, PinError::NoFileSystem { .. }), "{error}");
            assert!(error.to_string().contains("mount -t bpf"), "{error}");
        }
        assert!(!folder.path().join("missing").exists());
    }
}
