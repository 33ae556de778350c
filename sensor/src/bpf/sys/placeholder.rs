//! Programs that let every packet go on and do nothing else, for links that have to be there before
//! they may count.

use std::{io, os::fd::OwnedFd};

use zerocopy::{Immutable, IntoBytes};

use super::{Command, address, bpf_fd};

const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_PROG_TYPE_XDP: u32 = 6;
/// A link takes no program of another attach type in the place of the one that it has
/// (`bpf_xdp_link_update`). The object's XDP programs have this one, its classifiers none.
const BPF_XDP: u32 = 37;
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;

const XDP_PASS: i32 = 2;
const TCX_NEXT: i32 = -1;

/// Where it stands in for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// At XDP; with `frags` it takes multi-buffer frames.
    Xdp { frags: bool },
    /// At TCX.
    Classifier,
}

/// `struct bpf_insn`.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

impl Placeholder {
    /// Loads it.
    pub(crate) fn load(self) -> io::Result<OwnedFd> {
        let (prog_type, expected_attach_type, prog_flags, verdict) = match self {
            Self::Xdp { frags: true } => {
                (BPF_PROG_TYPE_XDP, BPF_XDP, BPF_F_XDP_HAS_FRAGS, XDP_PASS)
            }
            Self::Xdp { frags: false } => (BPF_PROG_TYPE_XDP, BPF_XDP, 0, XDP_PASS),
            Self::Classifier => (BPF_PROG_TYPE_SCHED_CLS, 0, 0, TCX_NEXT),
        };
        let instruction = |code, immediate| Instruction {
            code,
            registers: 0,
            offset: 0,
            immediate,
        };
        // r0 = verdict; exit
        let program = [instruction(0xb7, verdict), instruction(0x95, 0)];
        let mut attr = LoadAttr {
            prog_type,
            insn_cnt: 2,
            insns: address(program.as_ptr()),
            license: address(c"Dual MIT/GPL".as_ptr()),
            prog_flags,
            prog_name: *b"sensor_handover\0",
            expected_attach_type,
            ..LoadAttr::default()
        };
        // SAFETY: the kernel reads two instructions, and the licence up to its zero.
        // BPF_PROG_LOAD returns a descriptor.
        unsafe { bpf_fd(Command::ProgLoad, &mut attr) }
    }
}
