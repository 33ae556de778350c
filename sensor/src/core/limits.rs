//! Every bound of the engine in one place. What hits one is counted in [`super::stats`].

const SECOND: u64 = 1_000_000_000;

/// Bounds on memory. All are limits, not reservations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Live flows; when full, the flow that has been quiet for longest goes.
    pub flows: usize,
    /// Flows that were succeeded by another with the same key and wait for their counts.
    pub succeeded_flows: usize,
    /// Bytes that reassembly of all flows may hold.
    pub reassembly_bytes: usize,
    /// Bytes that one side of one stream may hold, out of order or not yet consumed.
    pub stream_bytes: usize,
    /// Segments that one side of one stream may hold out of order.
    pub stream_segments: usize,
    /// Bytes of one side that are shown to probers before its protocol is given up as unknown.
    pub probe_bytes: usize,
    /// Datagrams of one UDP flow that are shown to probers.
    pub probe_datagrams: u8,
    /// IP datagrams under reassembly at once; when full, the oldest goes.
    pub fragmented_datagrams: usize,
    /// Bytes that fragments of all datagrams may hold.
    pub fragment_bytes: usize,
    /// Fragments of one datagram.
    pub fragments: usize,
    /// Headers of tunnels that are followed.
    pub tunnel_depth: u8,
    /// Changes of what is wanted of live flows that wait to be told to the kernel.
    pub wishes: usize,
    /// Samples of a connection's originator, and of its responder, that may bring no new
    /// transaction before no more than the usual are wanted.
    pub unproductive_samples: [u16; 2],
    /// Bytes of the latest frames that are kept as evidence; 0 for none.
    pub evidence_bytes: usize,
    /// Anomalies that one flow reports; later ones are only counted.
    pub flow_anomalies: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 262_144,
            succeeded_flows: 1024,
            reassembly_bytes: 64 << 20,
            stream_bytes: 256 << 10,
            stream_segments: 256,
            probe_bytes: 2048,
            probe_datagrams: 4,
            fragmented_datagrams: 4096,
            fragment_bytes: 16 << 20,
            fragments: 128,
            tunnel_depth: 4,
            wishes: 8192,
            unproductive_samples: [1024, 128],
            evidence_bytes: 0,
            flow_anomalies: 16,
        }
    }
}

/// For how long a flow may be quiet before it ends, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTimeouts {
    /// Only one side has sent.
    pub new: u64,
    pub established: u64,
    /// After FINs or RST.
    pub closed: u64,
}

/// Time-outs on packet time, Suricata's by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub tcp: FlowTimeouts,
    pub udp: FlowTimeouts,
    pub icmp: FlowTimeouts,
    pub other: FlowTimeouts,
    /// For how long fragments wait for the rest of their datagram, nanoseconds.
    pub fragments: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        let quick = FlowTimeouts {
            new: 30 * SECOND,
            established: 300 * SECOND,
            closed: 30 * SECOND,
        };
        Self {
            tcp: FlowTimeouts {
                new: 60 * SECOND,
                established: 600 * SECOND,
                closed: 60 * SECOND,
            },
            udp: quick,
            icmp: quick,
            other: quick,
            fragments: 60 * SECOND,
        }
    }
}
