//! Who owns the path of the socket: a locked file beside it.
//!
//! Between finding out that nobody listens on a socket and removing its file, somebody else may have
//! put his own there. The lock makes one step of both, and ends with the process however it ends.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The path belongs to this process; dropping it removes the file.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of a socket's path; `None` if another process has it.
    pub(super) fn take(socket: &Path) -> io::Result<Option<Self>> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Who had it before has removed it meanwhile, or somebody has made another since.
            if is_at(&file, &path)? {
                return Ok(Some(Self { file, path }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is locked: later it might be another's. If it is gone, nothing is left to do.
        let _ = fs::remove_file(&self.path);
        // A child that is being started may have the descriptor, too, until it executes.
        let _ = self.file.unlock();
    }
}

/// Whether the open file is the one that the path names.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("sensor.sock");
        let first = Lock::take(&socket).unwrap().unwrap();
        assert!(Lock::take(&socket).unwrap().is_none());
        drop(first);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        // What a killed process has left is no obstacle.
        fs::write(directory.path().join("sensor.sock.lock"), "").unwrap();
        assert!(Lock::take(&socket).unwrap().is_some());
    }

    #[test]
    fn a_file_that_was_removed_is_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sensor.sock.lock");
        let file = File::create(&path).unwrap();
        assert!(is_at(&file, &path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path).unwrap());
        let _other = File::create(&path).unwrap();
        assert!(!is_at(&file, &path).unwrap());
    }
}
