//! Packets by `BPF_PROG_TEST_RUN`: exactly as many as asked for, on the calling CPU.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use etherparse::PacketBuilder;

use crate::test_run;

/// Where the source address and port are in the frame.
const SOURCE: usize = 14 + 12;
const PORT: usize = 14 + 20;

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
        test_run::receive(self.program.as_fd(), self.ifindex, &self.frame, repeat).map(drop)
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
