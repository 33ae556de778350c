//! A flash crowd: many clients at once, and no attack. A guard that mitigates must not harm it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use sensor_tests::flood::{Crowd, ListenOptions, Listener, Service, bind_queue};
use sensor_tests::{Lab, LabOptions};
use serde::Serialize;

use super::contender::Contender;
use super::family;
use super::round::{HOSTS, QUEUE};

/// New connections a second.
pub(super) const RATE: u32 = 2000;

/// For how long they come.
pub(super) const LENGTH: Duration = Duration::from_secs(5);

/// What became of the crowd.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    contender: &'static str,
    family: &'static str,
    clients: u64,
    /// Percent of them.
    success: f64,
    connect_p50_ms: Option<f64>,
    connect_p99_ms: Option<f64>,
    /// The slowest connection of those served.
    connect_max_ms: Option<f64>,
    /// Share of the packets to the server that its queue had no room for.
    queue_dropped: f64,
    accounting_error: u64,
}

/// Sends the crowd to a server behind a contender.
pub(super) fn measure(contender: Contender, ipv6: bool) -> Result<Row> {
    eprintln!("crowd over {}: {}", family(ipv6), contender.name());
    let lab = Lab::new(LabOptions {
        untagged: true,
        ..LabOptions::default()
    })?;
    bind_queue(&lab, QUEUE)?;
    let service = Service::Http;
    let listen = ListenOptions {
        cpu: Some(HOSTS),
        ..ListenOptions::default()
    };
    let _listener = Listener::start(&lab.server, service, listen)?;
    let server = if ipv6 {
        lab.server.ipv6(0)
    } else {
        lab.server.ipv4(0)
    };
    let target = SocketAddr::new(server, service.port());
    let in_place = contender.arm(&lab.server, target, 0)?;
    let before = lab.server.counters()?;
    let crowd = Crowd {
        cpu: Some(HOSTS),
        apart: true,
        ..Crowd::new(server, service, RATE)
    };
    let outcome = crowd.send(&lab.client, u64::from(RATE) * LENGTH.as_secs())?;
    let counted = lab.server.counters()?.since(before);
    let report = in_place.end()?;
    if let Some(error) = &outcome.first_error {
        eprintln!("the first broken connection: {error}");
    }
    let within = |share| Some(outcome.connected_within(share)?.as_secs_f64() * 1e3);
    let arrived = counted.rx_packets + counted.rx_dropped;
    Ok(Row {
        contender: contender.name(),
        family: family(ipv6),
        clients: outcome.all(),
        success: outcome.success() * 100.0,
        connect_p50_ms: within(0.5),
        connect_p99_ms: within(0.99),
        connect_max_ms: within(1.0),
        queue_dropped: counted.rx_dropped as f64 / arrived.max(1) as f64,
        accounting_error: report.map_or(0, |report| report.accounting_error),
    })
}
