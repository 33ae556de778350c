use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// Where in a temporary directory the file system is mounted.
pub(crate) const MOUNT: &str = "bpf";

/// A BPF file system of its own, with all that is pinned in it gone when dropped. A program that
/// is to see it has to be started afterwards.
#[derive(Debug)]
pub struct BpfFs {
    directory: TempDir,
}

impl BpfFs {
    /// Mounts it.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN.
    pub fn mount() -> Result<Self> {
        let directory = crate::scratch()?;
        let place = directory.path().join(MOUNT);
        std::fs::create_dir(&place)?;
        let path = CString::new(place.as_os_str().as_bytes())?;
        let kind = c"bpf".as_ptr();
        // SAFETY: all strings end with a zero; there is no data.
        let mounted = unsafe { libc::mount(kind, path.as_ptr(), kind, 0, std::ptr::null()) };
        if mounted < 0 {
            return Err(io::Error::last_os_error()).context("cannot mount a BPF file system");
        }
        Ok(Self { directory })
    }

    /// A folder in it that nobody has made yet.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.directory.path().join(MOUNT).join("sensor")
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        unmount(self.directory.path());
    }
}

/// Unmounts what [`BpfFs`] mounted in a temporary directory, if it did.
pub(crate) fn unmount(directory: &Path) {
    let place = directory.join(MOUNT);
    if let Ok(path) = CString::new(place.as_os_str().as_bytes()) {
        // SAFETY: the string ends with a zero. Nothing can be done if nothing is mounted there.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    }
}
