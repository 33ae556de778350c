use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sensor::bpf::{AttachOptions, DataPlane, LoadOptions};
use sensor::source::live::{Clock, monotonic_ns};
use sensor_ebpf::abi::{
    Destination, DestinationCounters, DestinationKey, Direction, GuardMode, GuardSettings, Method,
    Totals,
};
use zerocopy::FromZeros as _;

use crate::Host;

/// How often the rings are emptied and the programs told that somebody judges.
const TURN: Duration = Duration::from_millis(20);

/// How often a generation is closed.
const INTERVAL: Duration = Duration::from_millis(500);

/// What a guarded host defends, and how.
#[derive(Clone, Debug)]
pub struct GuardSpec {
    pub mode: GuardMode,
    /// Destinations that are under attack from the start.
    pub destinations: Vec<SocketAddr>,
    pub method: Method,
    /// See [`Destination::syn_per_second`].
    pub syn_per_second: u32,
    pub settings: GuardSettings,
}

impl GuardSpec {
    /// Mitigates with the default settings.
    #[must_use]
    pub fn new(method: Method, destinations: impl Into<Vec<SocketAddr>>) -> Self {
        Self {
            mode: GuardMode::Mitigate,
            destinations: destinations.into(),
            method,
            syn_per_second: 0,
            settings: GuardSettings::DEFAULT,
        }
    }
}

/// The data plane on a host's device with its guard armed from the start: what the kernel does,
/// without anybody's judgement. It ends when dropped.
#[derive(Debug)]
pub struct Guarded {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Result<GuardReport>>>>,
}

/// What the data plane counted, from start to end.
#[derive(Clone, Debug)]
pub struct GuardReport {
    /// Sum over the destinations.
    pub counters: DestinationCounters,
    /// Received packets of all closed generations.
    pub ingress: Totals,
    /// Sum of absolute differences of the law of accounting, both directions.
    pub accounting_error: u64,
    /// Destinations that the programs found suspicious.
    pub suspects: Vec<DestinationKey>,
}

impl Guarded {
    /// Loads and attaches the programs and arms the guard.
    ///
    /// # Errors
    /// What the data plane refuses.
    pub fn start(host: &Host, spec: GuardSpec) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (ready, armed) = std::sync::mpsc::channel();
        let device = host.device;
        let thread = host.namespace.spawn(move || {
            let mut plane = Plane::arm(device, &spec)?;
            ready.send(()).context("nobody waits for the guard")?;
            while !stopped.load(Ordering::Relaxed) {
                plane.turn()?;
                std::thread::sleep(TURN);
            }
            plane.end()
        });
        let mut guarded = Self {
            stop,
            thread: Some(thread),
        };
        match armed.recv() {
            Ok(()) => Ok(guarded),
            Err(_) => Err(guarded
                .join()
                .err()
                .unwrap_or_else(|| anyhow::anyhow!("the guard ended at once"))),
        }
    }

    /// Detaches, and tells what was counted.
    ///
    /// # Errors
    /// What the data plane refused meanwhile.
    pub fn stop(mut self) -> Result<GuardReport> {
        self.join()
    }

    fn join(&mut self) -> Result<GuardReport> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped twice")?;
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the guard panicked"))??
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whoever wants the report calls `stop`.
            let _ = thread.join();
        }
    }
}

struct Plane {
    plane: DataPlane,
    device: &'static str,
    clock: Clock,
    keys: Vec<DestinationKey>,
    closed: Instant,
    report: GuardReport,
}

impl Plane {
    fn arm(device: &'static str, spec: &GuardSpec) -> Result<Self> {
        let mut plane = DataPlane::load(LoadOptions::default())?;
        plane.guard_configure(&spec.settings, spec.mode)?;
        let keys: Vec<_> = spec.destinations.iter().copied().map(key).collect();
        for key in &keys {
            let destination = Destination {
                method: spec.method as u32,
                syn_per_second: spec.syn_per_second,
                ..Destination::default()
            };
            plane.guard_put(*key, destination)?;
        }
        plane.guard_heartbeat(monotonic_ns())?;
        plane.attach(device, AttachOptions::default())?;
        Ok(Self {
            plane,
            device,
            clock: Clock::start(),
            keys,
            closed: Instant::now(),
            report: GuardReport {
                counters: DestinationCounters::new_zeroed(),
                ingress: Totals::new_zeroed(),
                accounting_error: 0,
                suspects: Vec::new(),
            },
        })
    }

    fn turn(&mut self) -> Result<()> {
        self.plane.guard_heartbeat(monotonic_ns())?;
        let suspects = self.plane.guard_suspects()?;
        self.report
            .suspects
            .extend(suspects.into_iter().map(|(key, _)| key));
        self.plane.poll_samples(usize::MAX, |_, _| {});
        if self.closed.elapsed() >= INTERVAL {
            self.close()?;
            self.closed = Instant::now();
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let generation = self.plane.close_generation(&self.clock)?;
        for device in &generation.devices {
            self.report.accounting_error += device.difference;
            if device.direction == Direction::Ingress {
                add(&mut self.report.ingress, &device.totals);
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<GuardReport> {
        self.plane.detach(self.device);
        // What was counted up to now, and by programs that were still running.
        self.close()?;
        self.close()?;
        for key in &self.keys {
            if let Some(counters) = self.plane.guard_counters(key)? {
                add(&mut self.report.counters, &counters);
            }
        }
        Ok(self.report)
    }
}

/// Adds counters, of which both types consist.
fn add<T: zerocopy::IntoBytes + zerocopy::FromBytes + zerocopy::Immutable>(to: &mut T, from: &T) {
    for (to, from) in to
        .as_mut_bytes()
        .chunks_exact_mut(8)
        .zip(from.as_bytes().chunks_exact(8))
    {
        let [sum, more] =
            [&*to, from].map(|bytes| u64::from_ne_bytes(bytes.try_into().unwrap_or_default()));
        to.copy_from_slice(&(sum + more).to_ne_bytes());
    }
}

/// The guard's name for an address and port.
#[must_use]
pub fn key(destination: SocketAddr) -> DestinationKey {
    let address = match destination.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    DestinationKey {
        address: address.octets(),
        port: destination.port(),
        _pad: 0,
    }
}
