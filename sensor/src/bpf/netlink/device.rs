//! Network devices and their addresses.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Attributes, Request, Socket};

const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFLA_XDP_HW_PROG_ID: u16 = 7;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;

/// `struct ifinfomsg`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct LinkHead {
    family: u8,
    _pad: u8,
    hardware: u16,
    index: i32,
    flags: u32,
    change: u32,
}

/// `struct ifaddrmsg`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct AddressHead {
    family: u8,
    prefix_len: u8,
    flags: u8,
    scope: u8,
    index: u32,
}

/// What the kernel says of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) index: u32,
    /// `ARPHRD_*`.
    pub(crate) hardware: u16,
    pub(crate) loopback: bool,
    pub(crate) up: bool,
    /// `veth`, `vlan`, `bond`, ...; none for hardware.
    pub(crate) kind: Option<String>,
    /// What the device is a member of: its index and kind (`bond`, `bridge`, ...).
    pub(crate) master: Option<(u32, String)>,
    /// The device below a VLAN interface, or the peer of a veth.
    pub(crate) link: Option<u32>,
    pub(crate) mtu: u32,
    pub(crate) rx_queues: u32,
    pub(crate) tx_queues: u32,
    pub(crate) xdp: Option<XdpState>,
}

/// An XDP program on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XdpState {
    /// `native`, `generic`, `offloaded` or `several`.
    pub(crate) mode: &'static str,
    pub(crate) program_id: u32,
}

impl Device {
    /// The device of that name, if there is one.
    pub(crate) fn by_name(name: &str) -> io::Result<Option<Self>> {
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
            return Ok(None);
        }
        let request = Request::new(
            libc::RTM_GETLINK,
            libc::NLM_F_REQUEST | libc::NLM_F_ACK,
            &LinkHead::default(),
        );
        one(request.text(libc::IFLA_IFNAME, name))
    }

    /// The device with that index, if there is one.
    pub(crate) fn by_index(index: u32) -> io::Result<Option<Self>> {
        let head = LinkHead {
            index: index.cast_signed(),
            ..LinkHead::default()
        };
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        one(Request::new(libc::RTM_GETLINK, flags, &head))
    }

    /// All devices of this network namespace.
    pub(crate) fn all() -> io::Result<Vec<Self>> {
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
        let mut devices = Vec::new();
        let request = Request::new(libc::RTM_GETLINK, flags, &LinkHead::default());
        Socket::open()?.ask(request, |message| devices.extend(parse(message.payload)))?;
        Ok(devices)
    }

    /// The IP addresses of this device, without IPv6 link-local ones, which every device has.
    pub(crate) fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
        let request = Request::new(libc::RTM_GETADDR, flags, &AddressHead::default());
        let mut addresses = Vec::new();
        Socket::open()?.ask(request, |message| {
            let Ok((head, rest)) = AddressHead::read_from_prefix(message.payload) else {
                return;
            };
            if head.index == self.index {
                let attributes = Attributes(rest);
                let local = attributes.get(libc::IFA_LOCAL);
                addresses.extend(
                    local
                        .or_else(|| attributes.get(libc::IFA_ADDRESS))
                        .and_then(ip),
                );
            }
        })?;
        addresses.retain(|address| match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        });
        Ok(addresses)
    }

    /// Ethernet frames are what the programs can parse.
    pub(crate) const fn is_ethernet(&self) -> bool {
        self.hardware == libc::ARPHRD_ETHER
    }
}

fn one(request: Request) -> io::Result<Option<Device>> {
    let mut found = None;
    let asked = Socket::open()?.ask(request, |message| found = parse(message.payload));
    match asked {
        Ok(()) => Ok(found),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(payload: &[u8]) -> Option<Device> {
    let (head, rest) = LinkHead::read_from_prefix(payload).ok()?;
    let attributes = Attributes(rest);
    let info = attributes.nested(libc::IFLA_LINKINFO);
    let has = |flag: i32| head.flags & flag.cast_unsigned() != 0;
    let member_of = info.and_then(|info| info.text(IFLA_INFO_SLAVE_KIND));
    Some(Device {
        name: attributes.text(libc::IFLA_IFNAME)?,
        index: head.index.cast_unsigned(),
        hardware: head.hardware,
        loopback: has(libc::IFF_LOOPBACK),
        up: has(libc::IFF_UP),
        kind: info.and_then(|info| info.text(IFLA_INFO_KIND)),
        master: attributes
            .number(libc::IFLA_MASTER)
            .map(|index| (index, member_of.unwrap_or_default())),
        link: attributes.number(libc::IFLA_LINK),
        mtu: attributes.number(libc::IFLA_MTU).unwrap_or(0),
        rx_queues: attributes.number(libc::IFLA_NUM_RX_QUEUES).unwrap_or(0),
        tx_queues: attributes.number(libc::IFLA_NUM_TX_QUEUES).unwrap_or(0),
        xdp: attributes.nested(libc::IFLA_XDP).and_then(xdp_state),
    })
}

fn xdp_state(xdp: Attributes<'_>) -> Option<XdpState> {
    let (mode, id) = match xdp.get(IFLA_XDP_ATTACHED)?.first()? {
        1 => ("native", IFLA_XDP_DRV_PROG_ID),
        2 => ("generic", IFLA_XDP_SKB_PROG_ID),
        3 => ("offloaded", IFLA_XDP_HW_PROG_ID),
        4 => ("several", IFLA_XDP_DRV_PROG_ID),
        _ => return None,
    };
    let program_id = xdp.number(id).or_else(|| xdp.number(IFLA_XDP_PROG_ID))?;
    Some(XdpState { mode, program_id })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|v6| Ipv6Addr::from(v6).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there_and_known_as_such() {
        let lo = Device::by_name("lo")
            .expect("netlink answers")
            .expect("lo exists");
        assert!(lo.loopback && !lo.is_ethernet());
        assert_eq!(
            Device::by_index(lo.index).expect("netlink answers"),
            Some(lo)
        );
    }

    #[test]
    fn a_missing_device_is_none() {
        assert_eq!(
            Device::by_name("bpf-no-such").expect("netlink answers"),
            None
        );
        assert_eq!(
            Device::by_name("far-too-long-for-a-name").expect("refused early"),
            None
        );
    }

    #[test]
    fn an_xdp_program_is_seen() {
        let head = LinkHead {
            index: 3,
            hardware: 1,
            ..LinkHead::default()
        };
        let bytes = Request::new(16, 0, &head)
            .text(libc::IFLA_IFNAME, "eth9")
            .nested(libc::IFLA_XDP, |xdp| {
                xdp.attribute(IFLA_XDP_ATTACHED, &[2])
                    .attribute(IFLA_XDP_SKB_PROG_ID, &77_u32.to_ne_bytes())
            })
            .finish(1);
        let device = parse(&bytes[16..]).expect("a device");
        assert_eq!(
            device.xdp,
            Some(XdpState {
                mode: "generic",
                program_id: 77
            })
        );
    }
}
