use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sensor_tests::flood::{
    Clients, Cpu, Crowd, FILTER_RATE, ListenOptions, Listener, Outcome, Service, bind_queue,
};
use sensor_tests::{Generator, Lab, LabOptions, Sources, StreamSpec};

use super::contender::Contender;

/// The processor of the attacked queue and of the attacker.
pub(super) const QUEUE: Cpu = Cpu(1);

/// That of clients and servers.
pub(super) const HOSTS: Cpu = Cpu(0);

/// How long clients come before the attack and the contender are in full swing: not measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// Turns of the generator in one system call: long enough for its set-up not to matter.
const TURNS: u32 = 1 << 21;

/// One contender under one flood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) contender: Contender,
    pub(super) ipv6: bool,
    /// SYNs a second; `None` for as many as the attacker can make.
    pub(super) rate: Option<u64>,
    /// Clients a second; `None` for none at all.
    pub(super) clients: Option<u32>,
    pub(super) length: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Fought {
    /// Packets a second that reached the server's program, or its stack where it has none.
    pub(super) seen: f64,
    /// Share of all packets that the queue in front of it had no room for.
    pub(super) queue_dropped: f64,
    /// Processor time for each packet that was seen: of the attacker's thread and of its
    /// processor's softirq thread, so that the queue's work is in it.
    pub(super) cost: Duration,
    pub(super) outcome: Outcome,
    /// Of the sensor; 0 for others.
    pub(super) accounting_error: u64,
}

impl Round {
    /// Lays a lab, fights, and leaves nothing behind.
    pub(super) fn fight(self) -> Result<Fought> {
        ensure!(
            std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() >= 2),
            "attacker and clients need a processor each"
        );
        let lab = Lab::new(LabOptions {
            untagged: true,
            ..LabOptions::default()
        })?;
        bind_queue(&lab, QUEUE)?;
        let service = Service::Http;
        let _listener = Listener::start(
            &lab.server,
            service,
            ListenOptions {
                cpu: Some(HOSTS),
                ..ListenOptions::default()
            },
        )?;
        let server: IpAddr = if self.ipv6 {
            lab.server.ipv6(0)
        } else {
            lab.server.ipv4(0)
        };
        let target = SocketAddr::new(server, service.port());
        // No source of this flood comes twice: of the rates, the limit of all helps.
        let in_place = self.contender.arm(&lab.server, target, FILTER_RATE)?;
        let flood = StreamSpec {
            sources: Sources::Everywhere,
            rate: self.rate,
            turns: TURNS,
            cpu: Some(QUEUE),
            ..StreamSpec::syns(target, lab.server.mac())
        };

        let softirq = QUEUE.softirq_time()?;
        let begin = lab.server.counters()?;
        let generator = Generator::start(&lab.wire, "ws", &flood)?;
        std::thread::sleep(WARM_UP);
        let (start, before) = (Instant::now(), lab.server.counters()?);
        let clients = self.clients.map(|rate| {
            let crowd = Crowd {
                cpu: Some(HOSTS),
                apart: true,
                ..Crowd::new(server, service, rate)
            };
            crowd.start(&lab.client)
        });
        std::thread::sleep(self.length);
        // Those on their way still meet the flood.
        let outcome = clients.map_or_else(|| Ok(Outcome::default()), Clients::stop)?;
        let (window, elapsed) = (lab.server.counters()?.since(before), start.elapsed());
        let sent = generator.stop()?;
        let busy = sent.busy + QUEUE.softirq_time()?.saturating_sub(softirq);
        let all = lab.server.counters()?.since(begin);
        let report = in_place.end()?;
        let arrived = window.rx_packets + window.rx_dropped;
        Ok(Fought {
            seen: window.rx_packets as f64 / elapsed.as_secs_f64(),
            queue_dropped: window.rx_dropped as f64 / arrived.max(1) as f64,
            cost: busy.div_f64(all.rx_packets.max(1) as f64),
            outcome,
            accounting_error: report.map_or(0, |report| report.accounting_error),
        })
    }
}
