//! Links: what attaches a program for as long as its descriptor is open, or its pin is there.
//!
//! aya falls back to netlink where the kernel refuses a link, for XDP on `EINVAL` and for TC below
//! Linux 6.6. Such attachments outlive the process, so this module makes links or fails.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Command, address, bpf, bpf_fd};

const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
/// Without anything to be relative to: ahead of all others.
const BPF_F_BEFORE: u32 = 1 << 3;

/// Where a link hooks a program in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    XdpNative,
    XdpGeneric,
    /// Ahead of the TCX programs that are there, which may let a packet end or go elsewhere.
    TcxIngress,
    /// Behind the TCX programs that are there.
    TcxEgress,
}

#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct LinkAttr {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    // The kernel wants everything that a TCX link may be ordered by, even if it is nothing.
    relative: u32,
    _pad: u32,
    expected_revision: u64,
}

#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct UpdateAttr {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct DetachAttr {
    link_fd: u32,
}

#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct InfoAttr {
    fd: u32,
    len: u32,
    info: u64,
}

/// `bpf_attr.query`, all of it: the kernel fills what it is asked for.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
struct QueryAttr {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    _pad: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Head of `struct bpf_link_info`, as far as XDP and TCX links fill it.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct LinkInfo {
    link_type: u32,
    id: u32,
    prog_id: u32,
    _pad: u32,
    ifindex: u32,
    attach_type: u32,
}

/// A program on a device. Closing the descriptor, by dropping or by dying, takes it off, unless
/// the link is pinned.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

impl Link {
    /// Attaches `program` to the device with index `ifindex`.
    pub(crate) fn new(program: BorrowedFd<'_>, ifindex: u32, hook: Hook) -> io::Result<Self> {
        let (attach_type, flags) = match hook {
            Hook::XdpNative => (BPF_XDP, XDP_FLAGS_DRV_MODE),
            Hook::XdpGeneric => (BPF_XDP, XDP_FLAGS_SKB_MODE),
            Hook::TcxIngress => (BPF_TCX_INGRESS, BPF_F_BEFORE),
            Hook::TcxEgress => (BPF_TCX_EGRESS, 0),
        };
        let mut attr = LinkAttr {
            prog_fd: program.as_raw_fd().cast_unsigned(),
            target_ifindex: ifindex,
            attach_type,
            flags,
            ..LinkAttr::default()
        };
        // SAFETY: BPF_LINK_CREATE reads the attributes only.
        unsafe { bpf_fd(Command::LinkCreate, &mut attr).map(Self) }
    }

    /// The index of the device, or `None` if the kernel has taken the link off because the device
    /// is gone.
    pub(crate) fn ifindex(&self) -> io::Result<Option<u32>> {
        let info = self.info()?;
        Ok((info.ifindex != 0).then_some(info.ifindex))
    }

    /// The id of the program that runs there.
    pub(crate) fn program_id(&self) -> io::Result<u32> {
        self.info().map(|info| info.prog_id)
    }

    /// Puts `program` in the place of the one that runs there: each packet meets one of both.
    pub(crate) fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let mut attr = UpdateAttr {
            link_fd: self.0.as_raw_fd().cast_unsigned(),
            new_prog_fd: program.as_raw_fd().cast_unsigned(),
            ..UpdateAttr::default()
        };
        // SAFETY: BPF_LINK_UPDATE reads the attributes only.
        unsafe { bpf(Command::LinkUpdate, &mut attr).map(drop) }
    }

    /// Takes the program off at once, whoever else has the link open or pinned.
    pub(crate) fn detach(&self) -> io::Result<()> {
        let mut attr = DetachAttr {
            link_fd: self.0.as_raw_fd().cast_unsigned(),
        };
        // SAFETY: BPF_LINK_DETACH reads the attributes only.
        unsafe { bpf(Command::LinkDetach, &mut attr).map(drop) }
    }

    fn info(&self) -> io::Result<LinkInfo> {
        let mut info = LinkInfo::default();
        let mut attr = InfoAttr {
            fd: self.0.as_fd().as_raw_fd().cast_unsigned(),
            len: u32::try_from(size_of::<LinkInfo>()).unwrap_or(0),
            info: address(&raw mut info),
        };
        // SAFETY: the kernel writes at most `len` bytes to `info`, and any bytes make a LinkInfo.
        unsafe { bpf(Command::InfoByFd, &mut attr)? };
        Ok(info)
    }
}

/// Whether any program, of whomever, is at TCX ingress of the device with index `ifindex`.
pub(crate) fn has_tcx_ingress(ifindex: u32) -> io::Result<bool> {
    let mut attr = QueryAttr {
        target_ifindex: ifindex,
        attach_type: BPF_TCX_INGRESS,
        ..QueryAttr::default()
    };
    // SAFETY: without room for ids, BPF_PROG_QUERY writes to the attributes only.
    match unsafe { bpf(Command::ProgQuery, &mut attr) } {
        Ok(_) => Ok(attr.count > 0),
        // None has ever been there; or the kernel, below 6.6, has no such hook.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Link {
    /// The descriptor is that of an XDP or TCX link.
    fn from(link: OwnedFd) -> Self {
        Self(link)
    }
}
