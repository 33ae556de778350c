//! Metrics of what user space made of the samples and counters.

use super::{
    dissected::{
        CLASSES, DETECTORS, EVENT_TYPES, METHODS, QTYPES, RCODES, SEVERITIES, TLS_VERSIONS,
    },
    metric::{Kind, Label, Metric, Samples, Values},
};
use crate::core::stats::DecoderStats;

const fn label(name: &'static str, values: &'static [&'static str]) -> Label {
    Label {
        name,
        values: Values::OneOf(values),
    }
}

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "sensor_dns_queries_total",
        kind: Kind::Counter,
        help: "DNS questions in dissected queries: samples, not every query on the wire.",
        labels: &[label("qtype", &QTYPES)],
        read: Some(|s, out| each(out, &QTYPES, &s.dissected.dns_queries)),
    },
    Metric {
        name: "sensor_dns_responses_total",
        kind: Kind::Counter,
        help: "Dissected DNS responses: samples, not every response on the wire.",
        labels: &[label("rcode", &RCODES)],
        read: Some(|s, out| each(out, &RCODES, &s.dissected.dns_responses)),
    },
    Metric {
        name: "sensor_http_requests_total",
        kind: Kind::Counter,
        help: "Dissected HTTP requests: samples, not every request on the wire.",
        labels: &[label("method", &METHODS)],
        read: Some(|s, out| each(out, &METHODS, &s.dissected.http_requests)),
    },
    Metric {
        name: "sensor_http_responses_total",
        kind: Kind::Counter,
        help: "Dissected HTTP responses by class of status: samples, not every response.",
        labels: &[label("class", &CLASSES)],
        read: Some(|s, out| each(out, &CLASSES, &s.dissected.http_responses)),
    },
    Metric {
        name: "sensor_tls_handshakes_total",
        kind: Kind::Counter,
        help: "Dissected TLS handshakes by negotiated version: samples, not every handshake.",
        labels: &[label("version", &TLS_VERSIONS)],
        read: Some(|s, out| each(out, &TLS_VERSIONS, &s.dissected.tls_handshakes)),
    },
    Metric {
        name: "sensor_alerts_total",
        kind: Kind::Counter,
        help: "Alerts by detector and severity, of which 1 is the gravest.",
        labels: &[
            label("detector", &DETECTORS),
            label("severity", &SEVERITIES),
        ],
        read: Some(|s, out| {
            for (detector, severities) in DETECTORS.iter().zip(&s.dissected.alerts) {
                for (severity, count) in SEVERITIES.iter().zip(severities) {
                    out.add(&[detector, severity], *count);
                }
            }
        }),
    },
    Metric {
        name: "sensor_events_total",
        kind: Kind::Counter,
        help: "Events that the engine and the detectors emitted.",
        labels: &[label("type", &EVENT_TYPES)],
        read: Some(|s, out| each(out, &EVENT_TYPES, &s.dissected.events)),
    },
    Metric {
        name: "sensor_engine_flows",
        kind: Kind::Gauge,
        help: "Bidirectional flows alive in the engine's table.",
        labels: &[],
        read: Some(|s, out| out.add(&[], s.engine.flow.active)),
    },
    Metric {
        name: "sensor_engine_evicted_flows_total",
        kind: Kind::Counter,
        help: "Flows ended early to make room in the engine's table.",
        labels: &[],
        read: Some(|s, out| out.add(&[], s.engine.flow.evicted)),
    },
    Metric {
        name: "sensor_engine_held_bytes",
        kind: Kind::Gauge,
        help: "Bytes that wait for the rest of their stream or datagram.",
        labels: &[label("kind", &["stream", "datagram"])],
        read: Some(|s, out| {
            out.add(&["stream"], s.engine.stream.held_bytes);
            out.add(&["datagram"], s.engine.defrag.held_bytes);
        }),
    },
    Metric {
        name: "sensor_engine_dropped_total",
        kind: Kind::Counter,
        help: "What reassembly gave up for want of room, or because it was malformed.",
        labels: &[label(
            "reason",
            &[
                "stream_limit",
                "stream_memory",
                "fragment_limit",
                "fragment_malformed",
                "fragment_overlap",
            ],
        )],
        read: Some(|s, out| {
            out.add(&["stream_limit"], s.engine.stream.dropped_stream);
            out.add(&["stream_memory"], s.engine.stream.dropped_memcap);
            out.add(&["fragment_limit"], s.engine.defrag.dropped);
            out.add(&["fragment_malformed"], s.engine.defrag.malformed);
            out.add(&["fragment_overlap"], s.engine.defrag.abandoned);
        }),
    },
    Metric {
        name: "sensor_tunnelled_packets_total",
        kind: Kind::Counter,
        help: "IP packets that were found within others, by the protocol of the tunnel: of samples, \
               not of every packet on the wire.",
        labels: &[label("tunnel", &DecoderStats::TUNNELS)],
        read: Some(|s, out| each(out, &DecoderStats::TUNNELS, &s.engine.decoder.tunnelled)),
    },
    Metric {
        name: "sensor_tunnels_not_followed_total",
        kind: Kind::Counter,
        help: "Sampled packets of tunnels without an IP packet within; non_ip: there is something \
               else; cut: too little of it was sampled; malformed: headers break the rules, or are nested too deeply.",
        labels: &[label("reason", &["non_ip", "cut", "malformed"])],
        read: Some(|s, out| {
            out.add(&["non_ip"], s.engine.decoder.tunnelled_non_ip);
            out.add(&["cut"], s.engine.decoder.cut_tunnels);
            out.add(&["malformed"], s.engine.decoder.malformed_tunnels);
        }),
    },
    Metric {
        name: "sensor_wrong_checksums_total",
        kind: Kind::Counter,
        help: "Received samples with a wrong checksum, of those that were verified: they hold the \
               whole packet, and unless engine.checksums is strict, it is small, or one in 16.",
        labels: &[label(
            "protocol",
            &["ipv4", "tcp", "udp", "icmpv4", "icmpv6"],
        )],
        read: Some(|s, out| {
            let checksums = &s.engine.decoder.checksums;
            out.add(&["ipv4"], checksums.ipv4);
            out.add(&["tcp"], checksums.tcp);
            out.add(&["udp"], checksums.udp);
            out.add(&["icmpv4"], checksums.icmpv4);
            out.add(&["icmpv6"], checksums.icmpv6);
        }),
    },
    Metric {
        name: "sensor_sampling_verdicts_total",
        kind: Kind::Counter,
        help: "Changes of what dissection wants of live flows; told: to the kernel's sampling; \
               dropped: for want of room, and asked for again later; refused: by the kernel.",
        labels: &[label("result", &["told", "dropped", "refused"])],
        read: Some(|s, out| {
            let refused = s.verdict_errors;
            out.add(&["told"], s.engine.kernel.wishes.saturating_sub(refused));
            out.add(&["dropped"], s.engine.kernel.wishes_dropped);
            out.add(&["refused"], refused);
        }),
    },
    Metric {
        name: "sensor_samples_read_total",
        kind: Kind::Counter,
        help: "Records that were read from the sample rings.",
        labels: &[],
        read: Some(|s, out| out.add(&[], s.samples.records)),
    },
    Metric {
        name: "sensor_samples_disordered_total",
        kind: Kind::Counter,
        help: "Records that broke the order by time; late: older than one already dissected; \
               hurried: dissected before their window was over, for want of room; malformed: \
               too short to be a record, or left behind by a version with other records, and \
               dropped.",
        labels: &[label("reason", &["late", "hurried", "malformed"])],
        read: Some(|s, out| {
            out.add(&["late"], s.samples.late);
            out.add(&["hurried"], s.samples.hurried);
            out.add(&["malformed"], s.malformed_samples);
        }),
    },
];

fn each<const N: usize>(out: &mut Samples, names: &[&str; N], counters: &[u64; N]) {
    for (name, counter) in names.iter().zip(counters) {
        out.add(&[name], *counter);
    }
}
