use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout, timeout_at};

use super::{Cpu, Service};
use crate::Host;

/// A connection that has not done its work after this long counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// How often the start of new connections looks at the clock.
const TICK: Duration = Duration::from_millis(1);

/// Lets this process open as many files as it may: the usual limit of 1,024 is less than a crowd
/// needs at both ends of its connections.
fn allow_descriptors() -> io::Result<()> {
    // SAFETY: an `rlimit` is plain numbers, for which zeros are valid; the calls fill and read it.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Clients that come at their own pace, whether or not those before them were served.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Where to.
    pub server: IpAddr,
    pub service: Service,
    /// New connections a second.
    pub rate: u32,
    /// Each of 65,534 clients in a row comes from an address of its own, rather than all from the
    /// host's.
    pub apart: bool,
    /// How long a client waits for a connection before it starts another, from another port.
    /// The system retransmits a SYN after one second. `None`: it waits as long as it may.
    pub impatience: Option<Duration>,
    /// Until when a connection must have done its work: [`PATIENCE`], or longer where a slow
    /// machine must not make a test fail.
    pub patience: Duration,
    /// The processor that the clients share.
    pub cpu: Option<Cpu>,
}

impl Crowd {
    /// One that measures: connections end after [`PATIENCE`].
    #[must_use]
    pub const fn new(server: IpAddr, service: Service, rate: u32) -> Self {
        Self {
            server,
            service,
            rate,
            apart: false,
            impatience: None,
            patience: PATIENCE,
            cpu: None,
        }
    }

    /// Sends `number` clients and waits for all of them.
    ///
    /// # Errors
    /// If the clients cannot be started; what becomes of them is in the outcome.
    pub fn send(self, host: &Host, number: u64) -> Result<Outcome> {
        let never = AtomicBool::new(false);
        host.namespace.enter(|| self.run(number, &never))?
    }

    /// Sends clients until they are stopped.
    #[must_use]
    pub fn start(self, host: &Host) -> Clients {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = host.namespace.spawn(move || self.run(u64::MAX, &stopped));
        Clients {
            stop,
            thread: Some(thread),
        }
    }

    fn run(self, number: u64, stop: &AtomicBool) -> Result<Outcome> {
        if let Some(cpu) = self.cpu {
            cpu.pin()?;
        }
        allow_descriptors().context("cannot raise the limit of open files")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(self.come(number, stop)))
    }

    async fn come(self, number: u64, stop: &AtomicBool) -> Outcome {
        let (ended, mut ends) = mpsc::unbounded_channel();
        let start = Instant::now();
        let mut come = 0;
        while come < number && !stop.load(Ordering::Relaxed) {
            let due = (start.elapsed().as_secs_f64() * f64::from(self.rate)) as u64 + 1;
            while come < due.min(number) {
                let ended = ended.clone();
                let id = come;
                tokio::spawn(async move {
                    // The receiver stays until every sender is gone.
                    let _ = ended.send(self.visit(id).await);
                });
                come += 1;
            }
            sleep_until((Instant::now() + TICK).into()).await;
        }
        drop(ended);
        let mut outcome = Outcome::default();
        while let Some(visit) = ends.recv().await {
            outcome.add(visit);
        }
        outcome.connects.sort_unstable();
        outcome
    }

    async fn visit(self, number: u64) -> Visit {
        let start = Instant::now();
        let done = timeout_at((start + self.patience).into(), async {
            let mut stream = self.connect(number).await?;
            let connect = start.elapsed();
            let options = options(&stream)?;
            self.service.ask(&mut stream, number).await?;
            anyhow::Ok((connect, options))
        });
        match done.await {
            Ok(Ok((connect, options))) => Visit::Served {
                connect,
                whole: start.elapsed(),
                options,
            },
            Ok(Err(error)) => Visit::Broken(format!("{error:#}")),
            Err(_) => Visit::TimedOut,
        }
    }

    async fn connect(self, number: u64) -> Result<TcpStream> {
        let Some(impatience) = self.impatience else {
            return self.connect_once(number).await;
        };
        loop {
            // Dropped when its time is over, the socket is closed.
            if let Ok(connected) = timeout(impatience, self.connect_once(number)).await {
                return connected;
            }
        }
    }

    async fn connect_once(self, number: u64) -> Result<TcpStream> {
        let socket = match self.server {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if self.apart {
            socket.bind(SocketAddr::new(self.address_of(number), 0))?;
        }
        let to = SocketAddr::new(self.server, self.service.port());
        Ok(socket.connect(to).await?)
    }

    /// In 10.78.0.0/16 or fd78::/64, without the first and the last.
    const fn address_of(self, number: u64) -> IpAddr {
        let host = (number % 65_534) as u16 + 1;
        match self.server {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(10, 78, (host >> 8) as u8, host as u8)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, host)),
        }
    }
}

/// The TCP options that both ends agreed on: bits of [`tcp_option`].
fn options(stream: &TcpStream) -> Result<u8> {
    // The start of `struct tcp_info`; the kernel copies as much as there is room for.
    let mut info = [0_u8; 8];
    let mut len = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(info[5])
}

/// Bits of `tcpi_options` (`include/uapi/linux/tcp.h`).
pub mod tcp_option {
    pub const TIMESTAMPS: u8 = 1;
    pub const SACK: u8 = 2;
    pub const WINDOW_SCALE: u8 = 4;
}

/// Clients at work.
#[derive(Debug)]
pub struct Clients {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Result<Outcome>>>>,
}

impl Clients {
    /// Sends no more, waits for those on their way, and says what became of all.
    ///
    /// # Errors
    /// If they could not be started.
    pub fn stop(mut self) -> Result<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped twice")?;
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the clients panicked"))??
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whoever wants the outcome calls `stop`.
            let _ = thread.join();
        }
    }
}

enum Visit {
    Served {
        connect: Duration,
        whole: Duration,
        options: u8,
    },
    TimedOut,
    Broken(String),
}

/// What became of the clients.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Those who got all of their content, unchanged, in time: how long each waited for its
    /// connection, shortest first.
    pub connects: Vec<Duration>,
    /// The longest time from start to end of those.
    pub slowest: Duration,
    /// Bits of [`tcp_option`] that all of those had.
    pub options: u8,
    /// Those who did not get it in time.
    pub timed_out: u64,
    /// Those whose connection was refused, was reset, or brought other content.
    pub broken: u64,
    /// Why the first of these broke.
    pub first_error: Option<String>,
}

impl Outcome {
    fn add(&mut self, visit: Visit) {
        match visit {
            Visit::Served {
                connect,
                whole,
                options,
            } => {
                let before = if self.connects.is_empty() {
                    u8::MAX
                } else {
                    self.options
                };
                self.options = before & options;
                self.connects.push(connect);
                self.slowest = self.slowest.max(whole);
            }
            Visit::TimedOut => self.timed_out += 1,
            Visit::Broken(error) => {
                self.broken += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }

    /// Clients served.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.connects.len() as u64
    }

    /// All clients.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.served() + self.timed_out + self.broken
    }

    /// Share of the clients that were served; 0 if none came.
    #[must_use]
    pub fn success(&self) -> f64 {
        self.served() as f64 / self.all().max(1) as f64
    }

    /// The time within which a share of those served were connected, e.g. 0.5 for the median;
    /// `None` if none was.
    #[must_use]
    pub fn connected_within(&self, share: f64) -> Option<Duration> {
        let rank = (self.connects.len() as f64 * share).ceil() as usize;
        self.connects.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outcome, Visit};

    #[test]
    fn shares_are_of_those_who_came() {
        let mut outcome = Outcome::default();
        assert_eq!(
            (outcome.success(), outcome.connected_within(0.5)),
            (0.0, None)
        );
        for millis in 1..=8 {
            let connect = Duration::from_millis(millis);
            let whole = connect * 2;
            let options = if millis == 3 { 5 } else { 7 };
            outcome.add(Visit::Served {
                connect,
                whole,
                options,
            });
        }
        assert_eq!(outcome.options, 5);
        outcome.add(Visit::TimedOut);
        outcome.add(Visit::Broken("refused".to_owned()));
        assert_eq!(
            (outcome.served(), outcome.all(), outcome.success()),
            (8, 10, 0.8)
        );
        assert_eq!(
            outcome.connected_within(0.5),
            Some(Duration::from_millis(4))
        );
        assert_eq!(
            outcome.connected_within(0.99),
            Some(Duration::from_millis(8))
        );
        assert_eq!(outcome.slowest, Duration::from_millis(16));
    }
}
