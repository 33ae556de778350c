use std::{io, path::PathBuf};

/// Why the data plane cannot be pinned, or a pinned one not be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Not on a BPF file system.
    #[error(
        "{} is not on a BPF file system, which pinning needs: `mount -t bpf bpf /sys/fs/bpf`, or \
         set `pin.path` to a folder below one",
        path.display()
    )]
    NoFileSystem {
        /// The path.
        path: PathBuf,
    },
    /// Another process drives it.
    #[error(
        "{} belongs to a sensor that is running: stop that one, or set another `pin.path`",
        path.display()
    )]
    Busy {
        /// The path.
        path: PathBuf,
    },
    /// Somebody else's pins.
    #[error(
        "{} holds `{entry}`, which is no sensor's: set `pin.path` to a folder of its own",
        path.display()
    )]
    NotOurs {
        /// The path.
        path: PathBuf,
        /// What was found there.
        entry: String,
    },
    /// The process may not use the folder.
    #[error(
        "{} may not be used by this user: run as root, or make it that user's own with \
         `install -d -m 700 -o USER {}`",
        path.display(),
        path.display()
    )]
    Forbidden {
        /// The path.
        path: PathBuf,
    },
    /// Anything else.
    #[error("{}: {what}: {source}", path.display())]
    System {
        /// The path.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl PinError {
    pub(super) fn system(path: &std::path::Path, what: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Forbidden { path },
            _ => Self::System { path, what, source },
        }
    }
}
