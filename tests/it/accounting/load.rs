//! Packets by `BPF_PROG_TEST_RUN`: exactly as many as asked for, on the calling CPU.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::Arc,
};

use etherparse::PacketBuilder;
use zerocopy::{Immutable, IntoBytes};

const BPF_PROG_TEST_RUN: libc::c_long = 10;

/// Where the source address and port are in the frame.
const SOURCE: usize = 14 + 12;
const PORT: usize = 14 + 20;

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

/// Runs one program for packets of many flows. Each thread works with a clone.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    program: Arc<OwnedFd>,
    ifindex: u32,
    frame: Vec<u8>,
}

impl Load {
    pub(crate) fn new(program: OwnedFd, ifindex: u32) -> Self {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 0], [10, 77, 0, 2], 64)
            .udp(4000, 9000)
            .write(&mut frame, &[0; 18])
            .expect("a frame fits into memory");
        Self {
            program: Arc::new(program),
            ifindex,
            frame,
        }
    }

    /// Runs the program `repeat` times for a packet of the flow with this number, of 2^32.
    pub(crate) fn packets(&mut self, flow: u32, repeat: u32) -> io::Result<()> {
        // The low bits vary the address, the high ones the port, too.
        let address = 0x0a00_0000 | (flow & 0x00ff_ffff);
        self.frame[SOURCE..SOURCE + 4].copy_from_slice(&address.to_be_bytes());
        let port = 4000 + (flow >> 24) as u16;
        self.frame[PORT..PORT + 2].copy_from_slice(&port.to_be_bytes());
        let len = self.frame.len() as u32;
        let context = XdpMd {
            data_end: len,
            ingress_ifindex: self.ifindex,
            ..XdpMd::default()
        };
        let mut attr = RunAttr {
            prog_fd: self.program.as_raw_fd().cast_unsigned(),
            data_size_in: len,
            data_in: self.frame.as_ptr().addr() as u64,
            repeat,
            ctx_size_in: size_of::<XdpMd>() as u32,
            ctx_in: (&raw const context).addr() as u64,
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
            Ok(())
        }
    }
}

/// Keeps the calling thread on one CPU.
pub(crate) fn pin(cpu: usize) {
    // SAFETY: a `cpu_set_t` is plain bits, for which zeros are valid; the call reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// CPUs that the tests load.
pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(2)
}
