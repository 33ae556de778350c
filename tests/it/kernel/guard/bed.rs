//! The object under test in a network namespace of its own, with the guard's maps in hand.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, PerCpuArray};
use etherparse::{PacketBuilder, TcpOptionElement};
use sensor_ebpf::abi::{
    Destination, DestinationCounters, DestinationKey, GuardMode, GuardSettings, Method, Settings,
    map,
};
use sensor_tests::{Namespace, root_or_skip};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::kernel::programs::{Bytes, Programs, Setup};

pub(super) const XDP_DROP: u32 = 1;
pub(super) const XDP_PASS: u32 = 2;
pub(super) const XDP_TX: u32 = 3;

pub(super) const CLIENT: u16 = 40_000;
/// A client's initial sequence number.
pub(super) const SEQUENCE: u32 = 0x1234_5678;

/// What hardly any kernel test needs more of.
const COUNTER_WORDS: usize = size_of::<DestinationCounters>() / 8;

/// Runs `test` in a namespace with these settings below `/proc/sys/net`; skips without root.
pub(super) fn inside(
    sysctls: &[(&str, &str)],
    test: impl FnOnce() -> Result<()> + Send,
) -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    Namespace::new()?.enter(|| {
        for (name, value) in sysctls {
            std::fs::write(format!("/proc/sys/net/{name}"), value).context(name.to_string())?;
        }
        test()
    })?
}

/// The settings of most tests: no limit of any kind, and time plays no part.
pub(super) const SETTINGS: GuardSettings = GuardSettings {
    seed: [
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0xd6e8_feb8_6659_fd93,
        0xa076_1d64_78bd_642f,
        0xe703_7ed1_a0b4_28db,
        0x8ebc_6af0_9c88_c6e3,
        0x5899_65cc_7537_4cc3,
        0x1d8e_4e27_c47d_124f,
        0xeb44_acca_b455_d165,
        0x2127_599b_f432_5c37,
        0x8803_55f2_1e6d_1965,
    ],
    syn_filter_mask: 1023,
    sources_mask: 1023,
    source_rates_mask: 1023,
    flags: 0,
    window_scale: 7,
    suspect_per_window: 0,
    source_per_second: 0,
    source_burst: 0,
    out_of_state_per_second: 0,
    synack_per_second: 0,
    retransmission_min_ms: 0,
    retransmission_max_ms: 200_000,
    validated_seconds: 3_000,
    hold_seconds: 0,
};

/// A guard that mitigates, with one destination.
pub(super) struct Guarded {
    pub(super) programs: Programs,
    pub(super) key: DestinationKey,
}

impl Guarded {
    pub(super) fn new(to: (IpAddr, u16), method: Method) -> Result<Self> {
        let mut this = Self {
            programs: Programs::load(Setup::default())?,
            key: key(to),
        };
        this.configure(&SETTINGS)?;
        this.put(Destination {
            method: method as u32,
            ..Destination::default()
        })?;
        this.mode(GuardMode::Mitigate, 0)?;
        Ok(this)
    }

    pub(super) fn configure(&mut self, settings: &GuardSettings) -> Result<()> {
        let value = Bytes::<{ size_of::<GuardSettings>() }>::of(settings)?;
        Ok(self.programs.array(map::GUARD)?.set(0, value, 0)?)
    }

    pub(super) fn put(&mut self, destination: Destination) -> Result<()> {
        let map = self.programs.map_mut(map::DESTINATIONS)?;
        let mut map: HashMap<_, [u8; 20], Bytes<16>> = HashMap::try_from(map)?;
        Ok(map.insert(raw(&self.key)?, Bytes::of(&destination)?, 0)?)
    }

    pub(super) fn mode(&mut self, guard: GuardMode, mode: u32) -> Result<()> {
        self.programs.set(Settings {
            mode,
            guard: guard as u32,
            destinations: 1,
            ..Settings::default()
        })
    }

    pub(super) fn beat(&mut self, at_ns: u64) -> Result<()> {
        Ok(self
            .programs
            .array::<u64>(map::HEARTBEAT)?
            .set(0, at_ns, 0)?)
    }

    /// The destination's counters, which have to add up, as the device's totals have to.
    pub(super) fn counters(&self) -> Result<DestinationCounters> {
        self.programs
            .balanced(1, sensor_ebpf::abi::Direction::Ingress)?;
        let map = self.programs.map(map::DESTINATION_COUNTERS)?;
        let map: PerCpuArray<_, [u64; COUNTER_WORDS]> = PerCpuArray::try_from(map)?;
        let mut sum = [0; COUNTER_WORDS];
        for cpu in map.get(&0, 0)?.iter() {
            for (to, from) in sum.iter_mut().zip(cpu) {
                *to += from;
            }
        }
        let counters = DestinationCounters::read_from_bytes(sum.as_bytes())
            .ok()
            .context("size")?;
        let taken = counters.cookies
            + counters.first_dropped
            + counters.source_limited
            + counters.destination_limited
            + counters.synack_limited;
        anyhow::ensure!(counters.syn == counters.passed + taken, "{counters:?}");
        Ok(counters)
    }

    pub(super) fn suspects(&self) -> Result<Vec<DestinationKey>> {
        let map = self.programs.map(map::SUSPECTS)?;
        let map: HashMap<_, [u8; 20], u64> = HashMap::try_from(map)?;
        map.keys()
            .map(|key| DestinationKey::read_from_bytes(&key?).ok().context("size"))
            .collect()
    }
}

fn raw(key: &DestinationKey) -> Result<[u8; 20]> {
    Ok(key.as_bytes().try_into()?)
}

pub(super) fn key((address, port): (IpAddr, u16)) -> DestinationKey {
    let address = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    DestinationKey {
        address: address.octets(),
        port,
        _pad: 0,
    }
}

/// An address of the same family as `to`, another one for each number.
pub(super) fn client(to: IpAddr, number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    match to {
        IpAddr::V4(_) => [198, 18, high, low].into(),
        IpAddr::V6(_) => [0x2001, 0x2, 0, 0, 0, 0, 0, number].into(),
    }
}

/// What a Linux client offers.
pub(super) fn linux_options() -> Vec<TcpOptionElement> {
    vec![
        TcpOptionElement::MaximumSegmentSize(1460),
        TcpOptionElement::SelectiveAcknowledgementPermitted,
        TcpOptionElement::Timestamp(0x0102_0304, 0),
        TcpOptionElement::Noop,
        TcpOptionElement::WindowScale(9),
    ]
}

/// A SYN of a client that offers `options`.
pub(super) fn syn(to: (IpAddr, u16), number: u16, options: &[TcpOptionElement]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = match (client(to.0, number), to.0) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ethernet.ipv4(src.octets(), dst.octets(), 64),
        (IpAddr::V6(src), IpAddr::V6(dst)) => ethernet.ipv6(src.octets(), dst.octets(), 64),
        _ => unreachable!("a client is of its server's family"),
    };
    let mut frame = Vec::new();
    ip.tcp(CLIENT, to.1, SEQUENCE, 64_240)
        .syn()
        .options(options)
        .expect("they fit")
        .write(&mut frame, &[])
        .expect("writing to memory");
    frame
}

/// A segment with ACK of a client that has got `acknowledged` as the server's sequence number.
pub(super) fn ack(to: (IpAddr, u16), number: u16, acknowledged: u32) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = match (client(to.0, number), to.0) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ethernet.ipv4(src.octets(), dst.octets(), 64),
        (IpAddr::V6(src), IpAddr::V6(dst)) => ethernet.ipv6(src.octets(), dst.octets(), 64),
        _ => unreachable!("a client is of its server's family"),
    };
    let mut frame = Vec::new();
    ip.tcp(CLIENT, to.1, SEQUENCE.wrapping_add(1), 64_240)
        .ack(acknowledged.wrapping_add(1))
        .write(&mut frame, b"hello")
        .expect("writing to memory");
    frame
}
