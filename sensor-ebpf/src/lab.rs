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

/// Bytes of the longest template: Ethernet, IPv6 and TCP headers.
pub const TEMPLATE_LEN: usize = 14 + 40 + 20;

/// What the generator sends. Flow `f` comes from the template's source address plus the low 17
/// bits of `f`, and from port `1024 + (f >> 17)`.
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
    /// The device that frames leave by.
    pub ifindex: u32,
    /// Bytes of the frame's headers: 54 (IPv4) or 74 (IPv6).
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
