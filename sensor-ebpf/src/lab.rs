//! Layouts that the lab's own BPF object shares with the lab. Nothing of it ships.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Names of the programs in `lab.bpf.o`.
pub mod program {
    /// XDP at the wire's client side: everything goes to the server.
    pub const TO_SERVER: &str = "lab_to_server";
    /// XDP at the wire's server side: by destination address to client or attacker.
    pub const FROM_SERVER: &str = "lab_from_server";
    /// XDP, run by BPF_PROG_TEST_RUN with live frames: makes packets.
    pub const GENERATE: &str = "lab_generate";
    /// XDP: drops everything, the baseline of the benches.
    pub const DROP: &str = "lab_drop";
    /// XDP: drops what comes from outside the lab's own networks, as if it knew the attacker.
    pub const DROP_ATTACK: &str = "lab_drop_attack";
    /// XDP: passes everything, a program of somebody else.
    pub const PASS: &str = "lab_pass";
    /// Classifier at egress: adds the VLAN tags that the destination's network asks for.
    pub const VLAN_PUSH: &str = "lab_vlan_push";
    /// Classifier at ingress: removes all VLAN tags.
    pub const VLAN_POP: &str = "lab_vlan_pop";
}

/// Names of the maps in `lab.bpf.o`.
pub mod map {
    /// `ARRAY[3]` of `u32`: the wire's devices, indexed by [`super::Port`].
    pub const PORTS: &str = "PORTS";
    /// `ARRAY[1]` of [`super::Stream`].
    pub const STREAM: &str = "STREAM";
    /// `ARRAY[1]` of [`super::Progress`].
    pub const PROGRESS: &str = "PROGRESS";
}

/// Where a cable ends; also the last byte of that end's MAC address, less one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Port {
    Client = 0,
    Server = 1,
    Attacker = 2,
}

/// The VLAN of the network whose frames have a second tag around the first (IEEE 802.1ad), and the
/// id of that one.
pub const QINQ: u8 = 40;
pub const QINQ_OUTER: u16 = 400;

/// Bytes of an Ethernet header, without and with one VLAN tag.
pub const ETHERNET_LEN: usize = 14;
pub const TAGGED_LEN: usize = ETHERNET_LEN + 4;

/// Bytes of the headers from the IP header on: IPv4 and IPv6, each with a TCP header without
/// options, and with the one option that SYNs have here, the maximum segment size.
pub const IPV4_LEN: usize = 20 + 20;
pub const IPV4_SYN_LEN: usize = IPV4_LEN + 4;
pub const IPV6_LEN: usize = 40 + 20;
pub const IPV6_SYN_LEN: usize = IPV6_LEN + 4;

/// Bytes of the longest template.
pub const TEMPLATE_LEN: usize = TAGGED_LEN + IPV6_SYN_LEN;

/// Bits of a source address that vary when sources are [`Stream::everywhere`].
pub const EVERYWHERE_BITS: u32 = 28;

/// What the generator sends. Flow `f` comes from the template's source address plus the low
/// `address_bits` bits of `f`, and from port `1024 + (f >> address_bits)`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Stream {
    /// Nanoseconds from one frame to the next; 0 for as fast as it goes.
    pub interval_ns: u64,
    /// Number of flows less one; the number is a power of two.
    pub flow_mask: u32,
    /// Flow of packet `n` is `n * step & flow_mask`: 1 takes them in turn, another odd number
    /// scatters them.
    pub step: u32,
    /// How many bits of the flow's number go into the source address.
    pub address_bits: u32,
    /// 1: no flows; address and port of each packet are drawn anew, the address from
    /// [`EVERYWHERE_BITS`] bits.
    pub everywhere: u32,
    /// The four bytes of the source address of which the low bits vary: all of an IPv4 address,
    /// of an IPv6 address the last four, or with `everywhere` the third to the sixth.
    pub base: u32,
    /// The device that frames leave by.
    pub ifindex: u32,
    /// Bytes of the Ethernet header: [`ETHERNET_LEN`] or [`TAGGED_LEN`].
    pub ethernet_len: u32,
    /// Bytes of the headers behind it: [`IPV4_LEN`] and so on.
    pub header_len: u32,
    /// Unfolded sum of the IPv4 header's words, with checksum and variable fields 0.
    pub ip_sum: u32,
    /// Unfolded sum of pseudo header and TCP header, with checksum and variable fields 0.
    pub tcp_sum: u32,
    /// The headers, with checksums and variable fields (address bits, source port, sequence
    /// number, identification) 0.
    pub template: [u8; TEMPLATE_LEN],
    pub _pad: [u8; 6],
}

/// How far the generator is.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Progress {
    /// Frames handed to the device.
    pub sent: u64,
    /// Kernel time at which the next frame is due.
    pub due_ns: u64,
    /// Frames not sent because they were ahead of schedule.
    pub early: u64,
}
