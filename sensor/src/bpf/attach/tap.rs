//! Promiscuous mode for mirror ports.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use super::super::{AttachError, netlink::device::Device};

/// A packet socket's membership, which keeps a device promiscuous for as long as the socket is
/// open: the kernel counts memberships and drops ours even when the process is killed. The flag
/// of the interface (`IFF_PROMISC`), set by hand or by others, is left alone.
#[derive(Debug)]
pub(super) struct Promiscuous {
    _socket: OwnedFd,
}

impl Promiscuous {
    pub(super) fn set(device: &Device) -> Result<Self, AttachError> {
        open(device.index)
            .map(|socket| Self { _socket: socket })
            .map_err(|source| AttachError::Promiscuous {
                device: device.name.clone(),
                source,
            })
    }
}

fn open(ifindex: u32) -> io::Result<OwnedFd> {
    // Protocol 0: the socket itself receives nothing.
    // SAFETY: makes a descriptor, or returns -1.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` has just been made for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let membership = libc::packet_mreq {
        mr_ifindex: ifindex.cast_signed(),
        mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    // SAFETY: the kernel reads one `packet_mreq`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const membership).cast(),
            size_of_val(&membership) as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}
