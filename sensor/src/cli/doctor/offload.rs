//! The few questions to `ethtool(7)`'s ioctl that sysfs does not answer.

use std::{
    ffi::CStr,
    mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

// From linux/ethtool.h and linux/sockios.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GFLAGS: u32 = 0x25;
const FLAG_RX_VLAN: u32 = 1 << 8;
const FLAG_LRO: u32 = 1 << 15;

/// Offloads that change what XDP counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) lro: bool,
    pub(super) rx_vlan: bool,
}

pub(super) fn flags(device: &str) -> Option<Flags> {
    /// `struct ethtool_value`.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    let mut value = Value {
        command: ETHTOOL_GFLAGS,
        data: 0,
    };
    ask(device, &mut value)?;
    Some(Flags {
        lro: value.data & FLAG_LRO != 0,
        rx_vlan: value.data & FLAG_RX_VLAN != 0,
    })
}

pub(super) fn driver(device: &str) -> Option<String> {
    /// `struct ethtool_drvinfo`, of which only the driver's name is read.
    #[repr(C)]
    struct DriverInfo {
        command: u32,
        driver: [u8; 32],
        rest: [u8; 160],
    }
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    ask(device, &mut info)?;
    let name = CStr::from_bytes_until_nul(&info.driver).ok()?;
    Some(name.to_string_lossy().into_owned()).filter(|name| !name.is_empty())
}

/// `question` is one of ethtool's structures, which begins with its command.
fn ask<T>(device: &str, question: &mut T) -> Option<()> {
    // SAFETY: an `ifreq` is plain data, valid when zeroed.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if device.len() >= request.ifr_name.len() {
        return None;
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *slot = libc::c_char::from_ne_bytes([byte]);
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(question).cast();
    // SAFETY: plain system call; the result is checked.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return None;
    }
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: `request` and the structure that it points to outlive the call, and the kernel
    // writes no more than the structure of the command, which `question` is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &mut request) };
    (result == 0).then_some(())
}
