//! The part of `bpf(2)` that aya 0.14 has no interface for: batches over hash maps, the grace
//! period, plain links, rings of a chosen size, pins, programs of two instructions.
//!
//! All `unsafe` of the system call is in this file; [`map`], [`link`], [`pin`] and [`placeholder`] are
//! safe on top of it; [`mapped`] has that of `mmap(2)`.
//! Maps and links are reached by descriptors that were kept, never by `BPF_*_GET_FD_BY_ID`, which
//! asks for `CAP_SYS_ADMIN`.

pub(super) mod link;
pub(super) mod map;
pub(super) mod mapped;
pub(super) mod pin;
pub(super) mod placeholder;

use std::{
    ffi::c_long,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use zerocopy::{Immutable, IntoBytes};

/// `enum bpf_cmd` of `include/uapi/linux/bpf.h`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Command {
    MapCreate = 0,
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    MapNextKey = 4,
    ProgLoad = 5,
    ObjPin = 6,
    ObjGet = 7,
    ProgTestRun = 10,
    InfoByFd = 15,
    ProgQuery = 16,
    MapLookupBatch = 24,
    MapUpdateBatch = 26,
    MapDeleteBatch = 27,
    LinkCreate = 28,
    LinkUpdate = 29,
    LinkDetach = 34,
}

/// Calls `bpf(2)`.
///
/// # Safety
///
/// `attr` is what the kernel expects for `command`, and every address in it is valid for as many
/// bytes as the command reads or writes there.
unsafe fn bpf<T: IntoBytes + Immutable>(command: Command, attr: &mut T) -> io::Result<c_long> {
    // SAFETY: `attr` is initialised memory of the given size; what it points to is the caller's
    // promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as u32,
            &raw mut *attr,
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// [`bpf`] for commands that return a descriptor.
///
/// # Safety
///
/// As for [`bpf`]; `command` returns a descriptor.
unsafe fn bpf_fd<T: IntoBytes + Immutable>(command: Command, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: as the caller promises.
    let fd = unsafe { bpf(command, attr)? };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An address as `bpf_attr` holds it.
fn address<T: ?Sized>(of: *const T) -> u64 {
    of.cast::<u8>().addr() as u64
}

#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
}

/// Runs a program once over `frame`: its verdict, and how many bytes of `after` the frame has
/// then.
pub(super) fn test_run(
    program: BorrowedFd<'_>,
    frame: &[u8],
    after: &mut [u8],
) -> io::Result<(u32, usize)> {
    let len = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
    let mut attr = TestRunAttr {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        data_size_in: len(frame.len())?,
        data_size_out: len(after.len())?,
        data_in: address(frame.as_ptr()),
        data_out: address(after.as_mut_ptr()),
        repeat: 1,
        ..TestRunAttr::default()
    };
    // SAFETY: the kernel reads and writes as many bytes as are told.
    unsafe { bpf(Command::ProgTestRun, &mut attr)? };
    Ok((attr.retval, attr.data_size_out as usize))
}
