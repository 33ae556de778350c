//! Pins: names in a BPF file system that keep maps and links when no process does.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use zerocopy::{Immutable, IntoBytes};

use super::{Command, address, bpf, bpf_fd};

/// `BPF_FS_MAGIC` of `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct ObjectAttr {
    path: u64,
    fd: u32,
    file_flags: u32,
}

/// Gives `object`, a map or a link, the name `path`.
///
/// # Errors
/// `EEXIST` if there is such a name, `EPERM` if its directory is not on a BPF file system.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr {
        path: address(path.as_ptr()),
        fd: object.as_raw_fd().cast_unsigned(),
        file_flags: 0,
    };
    // SAFETY: the kernel reads the attributes and the path, which ends with a zero.
    unsafe { bpf(Command::ObjPin, &mut attr).map(drop) }
}

/// The map or link that `path` names; `None` if there is no such name.
pub(crate) fn open(path: &Path) -> io::Result<Option<OwnedFd>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr {
        path: address(path.as_ptr()),
        ..ObjectAttr::default()
    };
    // SAFETY: as above; BPF_OBJ_GET returns a descriptor.
    match unsafe { bpf_fd(Command::ObjGet, &mut attr) } {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether `path` lies on a BPF file system.
pub(crate) fn is_bpf_fs(path: &Path) -> io::Result<bool> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `statfs` is plain data, of which all zeroes are a value.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero, and the kernel writes one `statfs`.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut found) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(found.f_type as u32 == BPF_FS_MAGIC)
}

/// Takes the lock of an open directory without waiting; it ends with the descriptor, however the
/// process does. `false` if another process holds it.
pub(crate) fn lock(directory: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: takes a descriptor and a flag.
    let result = unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::WouldBlock {
        return Ok(false);
    }
    Err(error)
}

/// Gives the lock back.
pub(crate) fn unlock(directory: BorrowedFd<'_>) {
    // SAFETY: takes a descriptor and a flag. Without a lock there is nothing to be done.
    unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_UN) };
}
