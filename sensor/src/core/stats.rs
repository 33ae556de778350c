//! Every counter of the engine: plain numbers since its start, read by metrics and EVE `stats`.

use super::decode::TunnelKind;

/// All counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub decoder: DecoderStats,
    pub defrag: DefragStats,
    pub flow: FlowStats,
    pub stream: StreamStats,
    pub app: AppStats,
    pub kernel: KernelStats,
    /// Events emitted.
    pub events: u64,
}

/// What frames were made of. A frame counts once in each layer that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecoderStats {
    /// Frames, and their bytes on the wire.
    pub packets: u64,
    pub bytes: u64,
    /// Frames of which fewer bytes were captured than were on the wire.
    pub cut: u64,
    /// Frames that no flow key could be made of.
    pub invalid: u64,
    /// Frames that are not IP.
    pub non_ip: u64,
    pub ipv4: u64,
    pub ipv6: u64,
    pub tcp: u64,
    pub udp: u64,
    pub icmpv4: u64,
    pub icmpv6: u64,
    pub sctp: u64,
    /// IP packets of any other protocol.
    pub other_ip: u64,
    pub vlan: u64,
    pub vlan_qinq: u64,
    /// IP packets found within another's payload, by the protocol of the tunnel: see
    /// [`Self::TUNNELS`].
    pub tunnelled: [u64; 9],
    /// Packets of tunnels that carry something else than IP.
    pub tunnelled_non_ip: u64,
    /// Packets of tunnels of which too little was captured to find what is within.
    pub cut_tunnels: u64,
    /// Packets of tunnels whose headers, or what is behind them, break the rules.
    pub malformed_tunnels: u64,
    pub checksums: ChecksumStats,
    /// Anomalies found while decoding.
    pub anomalies: u64,
}

impl DecoderStats {
    /// Names of the tunnels in [`Self::tunnelled`].
    pub const TUNNELS: [&'static str; 9] = {
        let mut names = [""; 9];
        let mut index = 0;
        while index < names.len() {
            names[index] = TunnelKind::ALL[index].name();
            index += 1;
        }
        names
    };

    /// Packets found in tunnels of the protocol with this name.
    #[must_use]
    pub fn tunnelled_by(&self, tunnel: &str) -> u64 {
        let named = Self::TUNNELS.iter().zip(self.tunnelled);
        named
            .filter(|(name, _)| **name == tunnel)
            .map(|(_, count)| count)
            .sum()
    }
}

/// Checksums of packets that are there to their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChecksumStats {
    /// Those of transports that were verified: not all of large packets.
    pub verified: u64,
    /// Wrong ones.
    pub ipv4: u64,
    pub tcp: u64,
    pub udp: u64,
    pub icmpv4: u64,
    pub icmpv6: u64,
    /// Left to the device of the machine that captured.
    pub offloaded: u64,
}

impl ChecksumStats {
    /// All wrong ones.
    #[must_use]
    pub const fn wrong(&self) -> u64 {
        self.ipv4 + self.tcp + self.udp + self.icmpv4 + self.icmpv6
    }
}

/// Reassembly of IP datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DefragStats {
    pub fragments_ipv4: u64,
    pub fragments_ipv6: u64,
    /// Datagrams that were put together.
    pub reassembled: u64,
    /// Datagrams that were never complete.
    pub timeouts: u64,
    /// Fragments that lie, wholly or in part, where an earlier one does.
    pub overlaps: u64,
    /// Fragments of IPv6 dropped with their datagram, of which some overlapped or contradicted others.
    pub abandoned: u64,
    /// Fragments refused: beyond 65,535 bytes, of a wrong length, or cut.
    pub malformed: u64,
    /// Fragments or datagrams given up for want of room.
    pub dropped: u64,
    /// Bytes held now.
    pub held_bytes: u64,
}

/// The flow table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowStats {
    /// Flows begun, by protocol.
    pub tcp: u64,
    pub udp: u64,
    pub icmpv4: u64,
    pub icmpv6: u64,
    pub other: u64,
    /// Flows alive now.
    pub active: u64,
    /// Most flows that were ever alive at once.
    pub peak: u64,
    /// Ended by time-out.
    pub timeouts: u64,
    /// Ended to make room.
    pub evicted: u64,
    /// Ended by a new connection with the same addresses and ports.
    pub tcp_reuse: u64,
    /// Ended at the end of input.
    pub shutdown: u64,
}

/// Reassembly of TCP streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Streams under reassembly now.
    pub active: u64,
    /// Connections that were first seen without a SYN.
    pub midstream: u64,
    pub syn: u64,
    pub syn_ack: u64,
    pub rst: u64,
    /// Segments with payload that were shown to reassembly.
    pub segments: u64,
    pub out_of_order: u64,
    /// Segments whose bytes had all been seen before.
    pub retransmitted: u64,
    /// Segments with some bytes that had been seen before.
    pub overlaps: u64,
    /// Holes that were acknowledged, but not captured; and their bytes.
    pub gaps: u64,
    pub gap_bytes: u64,
    /// Holes that come from sampling.
    pub sampling_gaps: u64,
    /// Segments given up for want of room in the stream, or in all of them.
    pub dropped_stream: u64,
    pub dropped_memcap: u64,
    /// Streams given up because a parser wanted more bytes than a stream may hold.
    pub overrun: u64,
    /// Bytes held now.
    pub held_bytes: u64,
    pub anomalies: u64,
}

/// Recognition of application protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppStats {
    /// Flows whose protocol was recognised, in the registry's order.
    pub recognised: [u64; super::proto::MAX_PROTOCOLS],
    /// Flows that were looked at and fit no protocol.
    pub unknown: u64,
    /// Flows whose parser gave up on broken bytes.
    pub failed: u64,
    pub anomalies: u64,
}

/// What drains of kernel counters brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelStats {
    pub drains: u64,
    /// Flow entries in them.
    pub entries: u64,
    /// Packets and bytes in them.
    pub packets: u64,
    pub bytes: u64,
    /// Entries of flows that had gone, or were never sampled, and made a flow.
    pub unsampled: u64,
    /// Packets in drains that had crossed the device before, and were counted then.
    pub crossed_again: u64,
    /// Samples of such packets, dissected at the first crossing only.
    pub crossed_samples: u64,
    /// Entries that found no flow because of a lack of room for a new one.
    pub refused: u64,
    /// Their packets.
    pub refused_packets: u64,
    /// Changes of what is wanted of a live flow, told to the kernel's sampling.
    pub wishes: u64,
    /// Those for which there was no room; the next sample asks again.
    pub wishes_dropped: u64,
}
