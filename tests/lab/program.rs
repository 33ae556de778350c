//! The traffic that `show` plays: clients all the time, a port scan and a SYN flood in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use sensor_tests::traffic::{self, DnsType};
use sensor_tests::{Generator, Host, Lab, StreamSpec, VLANS};

/// SYNs a second during the flood.
const FLOOD_RATE: u64 = 20_000;

/// Names and pages that the clients ask for.
const SITES: [&str; 4] = ["www.example", "mail.example", "nx.example", "cdn.example"];

/// Plays until dropped.
#[derive(Debug)]
pub(crate) struct Program {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Program {
    pub(crate) fn start(lab: &Lab, tls: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let servers: Vec<_> = std::iter::once(0)
            .chain(VLANS)
            .flat_map(|vlan| [lab.server.ipv4(vlan), lab.server.ipv6(vlan)])
            .collect();
        let (client, stopped) = (lab.client.clone(), Arc::clone(&stop));
        threads.push(std::thread::spawn(move || {
            let mut turn = 0;
            while !stopped.load(Ordering::Relaxed) {
                let server = servers[turn % servers.len()];
                let site = SITES[turn % SITES.len()];
                // What fails here shows as missing traffic; the show goes on.
                let _ = visit(&client, server, site, turn, tls);
                turn += 1;
                pause(&stopped, Duration::from_millis(200));
            }
            Ok(())
        }));
        let (attacker, server) = (lab.attacker.clone(), lab.server.clone());
        let stopped = Arc::clone(&stop);
        threads.push(std::thread::spawn(move || {
            attack(&attacker, &server, &stopped)
        }));
        Self { stop, threads }
    }

    /// Ends the traffic.
    ///
    /// # Errors
    /// If an attack could not be played.
    pub(crate) fn end(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("the traffic panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Whoever wants the error calls `end`.
            let _ = thread.join();
        }
    }
}

fn visit(
    client: &Host,
    server: std::net::IpAddr,
    site: &str,
    turn: usize,
    tls: bool,
) -> Result<()> {
    client.block_on(async {
        let id = turn as u16;
        traffic::dns_query(server, id, site, DnsType::A).await?;
        if turn % 4 == 1 {
            traffic::dns_query_tcp(server, id, site, DnsType::Aaaa).await?;
        }
        let path = if turn % 5 == 4 {
            "/missing"
        } else {
            "/bytes/20000"
        };
        traffic::http_get((server, 80).into(), site, path).await?;
        if turn % 3 == 2 {
            traffic::ssh_banner(server).await?;
        }
        anyhow::Ok(())
    })??;
    if tls && turn.is_multiple_of(2) {
        traffic::tls_handshake(client, server, site)?;
    }
    Ok(())
}

/// Every 20 seconds: a port scan after 4, a SYN flood from 8 to 12.
fn attack(attacker: &Host, server: &Host, stopped: &AtomicBool) -> Result<()> {
    let flood = StreamSpec {
        rate: Some(FLOOD_RATE),
        ..StreamSpec::syns((server.ipv4(0), 80).into(), server.mac())
    };
    while !stopped.load(Ordering::Relaxed) {
        pause(stopped, Duration::from_secs(4));
        if !stopped.load(Ordering::Relaxed) {
            attacker.block_on(traffic::connect_all(server.ipv4(0), 1..=200))?;
        }
        pause(stopped, Duration::from_secs(4));
        if !stopped.load(Ordering::Relaxed) {
            let generator = Generator::start(&attacker.namespace, attacker.device, &flood)?;
            pause(stopped, Duration::from_secs(4));
            generator.stop()?;
        }
        pause(stopped, Duration::from_secs(8));
    }
    Ok(())
}

fn pause(stopped: &AtomicBool, length: Duration) {
    let end = Instant::now() + length;
    while Instant::now() < end && !stopped.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
    }
}
