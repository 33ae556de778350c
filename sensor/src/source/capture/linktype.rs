//! Link types: which ones the engine decodes, and names for the rest.

use crate::core::frame::LinkType;

/// Frame check sequence length, in bytes, from the upper bits of pcap's link type field
/// (draft-ietf-opsawg-pcap: bit 26 says that it is known, bits 28 to 31 count 16-bit words).
pub(super) fn fcs_len(field: u32) -> u32 {
    if field & 0x0400_0000 == 0 {
        0
    } else {
        (field >> 28) * 2
    }
}

/// The link type proper, from pcap's link type field.
pub(super) fn number(field: u32) -> u32 {
    field & 0x03ff_ffff
}

/// How frames of this link type are read; `None` if they are only counted.
pub(super) fn supported(number: u32) -> Option<LinkType> {
    Some(match number {
        0 | 108 => LinkType::Loopback,
        1 => LinkType::Ethernet,
        9 | 50 => LinkType::Ppp,
        // 12 and 14 are DLT_RAW of the BSDs, written to files by old libpcaps.
        12 | 14 | 101 | 228 | 229 => LinkType::RawIp,
        113 => LinkType::LinuxSll,
        276 => LinkType::LinuxSll2,
        _ => return None,
    })
}

/// The name in the LINKTYPE_ registry, for messages.
#[must_use]
pub fn name(number: u32) -> &'static str {
    match number {
        0 => "NULL",
        1 => "ETHERNET",
        6 => "IEEE802_5",
        7 => "ARCNET_BSD",
        8 => "SLIP",
        9 => "PPP",
        10 => "FDDI",
        12 | 14 | 101 => "RAW",
        50 => "PPP_HDLC",
        51 => "PPP_ETHER",
        100 => "ATM_RFC1483",
        104 => "C_HDLC",
        105 => "IEEE802_11",
        107 => "FRELAY",
        108 => "LOOP",
        113 => "LINUX_SLL",
        117 => "PFLOG",
        119 => "IEEE802_11_PRISM",
        127 => "IEEE802_11_RADIOTAP",
        143 => "DOCSIS",
        147..=162 => "USER",
        163 => "IEEE802_11_AVS",
        187 => "BLUETOOTH_HCI_H4",
        189 => "USB_LINUX",
        192 => "PPI",
        195 => "IEEE802_15_4",
        201 => "BLUETOOTH_HCI_H4_WITH_PHDR",
        220 => "USB_LINUX_MMAPPED",
        227 => "CAN_SOCKETCAN",
        228 => "IPV4",
        229 => "IPV6",
        239 => "NFLOG",
        249 => "USBPCAP",
        252 => "WIRESHARK_UPPER_PDU",
        253 => "NETLINK",
        276 => "LINUX_SLL2",
        _ => "unknown",
    }
}
