//! Counts what was dissected, from the events, under a fixed list of label values.

use crate::core::event::{Alert, Body, Dns, DnsKind, Event, Http, Tls};

pub(super) const QTYPES: [&str; 19] = [
    "A", "AAAA", "ANY", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NAPTR", "NS", "NULL",
    "PTR", "SOA", "SRV", "SVCB", "TLSA", "TXT", "other",
];
pub(super) const RCODES: [&str; 12] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
    "NXRRSET", "NOTAUTH", "NOTZONE", "other",
];
pub(super) const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other",
];
pub(super) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];
/// As in EVE's `tls.version`.
pub(super) const TLS_VERSIONS: [&str; 6] =
    ["SSLv3", "TLSv1", "TLS 1.1", "TLS 1.2", "TLS 1.3", "other"];
pub(super) const EVENT_TYPES: [&str; 8] = [
    "flow", "dns", "http", "tls", "anomaly", "alert", "stats", "other",
];
pub(super) const DETECTORS: [&str; 2] = ["syn_flood", "other"];
pub(super) const SEVERITIES: [&str; 4] = ["1", "2", "3", "other"];

/// Counters in the order of the lists above; the last of each counts the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dissected {
    pub dns_queries: [u64; QTYPES.len()],
    pub dns_responses: [u64; RCODES.len()],
    pub http_requests: [u64; METHODS.len()],
    pub http_responses: [u64; CLASSES.len()],
    pub tls_handshakes: [u64; TLS_VERSIONS.len()],
    pub events: [u64; EVENT_TYPES.len()],
    /// By detector, then severity.
    pub alerts: [[u64; SEVERITIES.len()]; DETECTORS.len()],
}

impl Dissected {
    /// Counts one event.
    pub fn count(&mut self, event: &Event) {
        bump(&mut self.events, &EVENT_TYPES, event.body.event_type());
        match &event.body {
            Body::Dns { dns } => self.dns(dns),
            Body::Http { http } => self.http(http),
            Body::Tls { tls } => self.tls(tls),
            Body::Alert { alert } => self.alert(alert),
            _ => {}
        }
    }

    fn dns(&mut self, dns: &Dns) {
        if dns.kind == DnsKind::Request {
            for query in &dns.queries {
                bump(&mut self.dns_queries, &QTYPES, &query.rrtype);
            }
        } else {
            bump(&mut self.dns_responses, &RCODES, &dns.rcode);
        }
    }

    fn http(&mut self, http: &Http) {
        if let Some(method) = &http.http_method {
            bump(&mut self.http_requests, &METHODS, &method.to_str());
        }
        if let Some(status) = http.status {
            let class = usize::from(status / 100);
            let class = class.checked_sub(1).and_then(|index| CLASSES.get(index));
            bump(
                &mut self.http_responses,
                &CLASSES,
                class.unwrap_or(&"other"),
            );
        }
    }

    fn tls(&mut self, tls: &Tls) {
        bump(
            &mut self.tls_handshakes,
            &TLS_VERSIONS,
            &tls.version.to_str(),
        );
    }

    fn alert(&mut self, alert: &Alert) {
        let detector = position(
            &DETECTORS,
            crate::core::detect::detector_of(alert.signature_id),
        );
        bump(
            &mut self.alerts[detector],
            &SEVERITIES,
            &alert.severity.to_string(),
        );
    }
}

fn position<const N: usize>(names: &[&str; N], name: &str) -> usize {
    names
        .iter()
        .position(|known| *known == name)
        .unwrap_or(N - 1)
}

fn bump<const N: usize>(counters: &mut [u64; N], names: &[&str; N], name: &str) {
    counters[position(names, name)] += 1;
}
