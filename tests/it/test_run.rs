//! `BPF_PROG_TEST_RUN` with a device of the test's choice, on the calling CPU.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use zerocopy::{Immutable, IntoBytes};

const BPF_PROG_TEST_RUN: libc::c_long = 10;

/// `bpf_attr.test` of `include/uapi/linux/bpf.h`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct RunAttr {
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
    flags: u32,
    cpu: u32,
    batch_size: u32,
    _pad: u32,
}

/// `struct xdp_md`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct XdpMd {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

/// Bytes of a `struct __sk_buff`, and where its `ifindex` is.
const SK_BUFF: usize = 192;
const SK_BUFF_IFINDEX: usize = 40;

/// Keeps the calling thread on the CPU that it runs on now: what the programs keep for each CPU is
/// then the same from run to run.
pub(crate) fn stay_on_this_cpu() -> io::Result<()> {
    // SAFETY: a `cpu_set_t` is plain bits, for which zeros are valid; the calls only read it.
    unsafe {
        let cpu = usize::try_from(libc::sched_getcpu()).map_err(|_| io::Error::last_os_error())?;
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        if libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Runs a classifier `repeat` times as if `frame` had crossed a device of this namespace; returns
/// the last verdict.
pub(crate) fn classify(
    program: BorrowedFd<'_>,
    ifindex: u32,
    frame: &[u8],
    repeat: u32,
) -> io::Result<u32> {
    let mut context = [0; SK_BUFF];
    context[SK_BUFF_IFINDEX..SK_BUFF_IFINDEX + 4].copy_from_slice(&ifindex.to_ne_bytes());
    run(program, &context, frame, repeat)
}

/// Runs an XDP program `repeat` times as if `frame` had arrived on a device of this namespace;
/// returns the last verdict.
pub(crate) fn receive(
    program: BorrowedFd<'_>,
    ifindex: u32,
    frame: &[u8],
    repeat: u32,
) -> io::Result<u32> {
    let context = XdpMd {
        data_end: frame.len() as u32,
        ingress_ifindex: ifindex,
        ..XdpMd::default()
    };
    run(program, context.as_bytes(), frame, repeat)
}

fn run(program: BorrowedFd<'_>, context: &[u8], frame: &[u8], repeat: u32) -> io::Result<u32> {
    let mut attr = RunAttr {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr().addr() as u64,
        repeat,
        ctx_size_in: context.len() as u32,
        ctx_in: context.as_ptr().addr() as u64,
        ..RunAttr::default()
    };
    // SAFETY: the kernel reads the frame and the context, and writes to `attr` only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_TEST_RUN,
            &raw mut attr,
            size_of::<RunAttr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(attr.retval)
    }
}
