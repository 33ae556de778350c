use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::maps::{Array, MapData};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use sensor_ebpf::lab::{
    ETHERNET_LEN, IPV4_LEN, IPV4_SYN_LEN, IPV6_LEN, IPV6_SYN_LEN, Progress, Stream, TAGGED_LEN,
    map, program,
};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use crate::flood::Cpu;
use crate::{Namespace, device, object};

/// Frames handed to the device at once.
const BATCH: u32 = 64;

/// Shortest frame: 64 bytes with the FCS.
const MIN_FRAME: usize = 60;

/// Bit of the TCP header's flags.
pub mod tcp_flag {
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

/// Last byte of the MAC address that invented senders share; the wire drops what goes there.
pub(crate) const INVENTED: u8 = 9;

/// The largest segment that SYNs offer.
const MSS: u16 = 1460;

/// Where the senders of a stream seem to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sources {
    /// All at 198.18.0.0 or 2001:2::, and flows differ in their port.
    One,
    /// In 198.18.0.0/24 or 2001:2::/120, then ports.
    Network,
    /// In 198.18.0.0/15 (RFC 2544) or 2001:2::/111 (RFC 5180), then ports.
    #[default]
    Range,
    /// Anywhere in 16.0.0.0/4 or 3fff::/20, one of 2^28 (IPv6: in as many networks), each packet
    /// with an address and a port of its own: there are no flows.
    Everywhere,
}

/// What to send: TCP segments without payload. SYNs carry the option of the maximum segment size,
/// as real ones do.
#[derive(Clone, Copy, Debug)]
pub struct StreamSpec {
    /// Where to; its family is that of the stream.
    pub to: SocketAddr,
    pub to_mac: [u8; 6],
    /// VLAN id of the frames' one tag, or 0 for none.
    pub vlan: u8,
    /// TCP flags, see [`tcp_flag`].
    pub tcp_flags: u8,
    pub sources: Sources,
    /// Number of flows, a power of two.
    pub flows: u32,
    /// Flows in scattered order rather than in turn.
    pub scatter: bool,
    /// Frames a second; `None` for as fast as it goes.
    pub rate: Option<u64>,
    /// Turns that one system call makes, each with a frame unless that is ahead of the rate. A
    /// call costs some 27 ms of set-up during which nothing is sent, and a generator can only
    /// stop between calls.
    pub turns: u32,
    /// The sender's processor; `None` leaves it to the scheduler.
    pub cpu: Option<Cpu>,
}

/// What a generator sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Frames handed to the device. What its queue had no room for counts as `rx_dropped` of
    /// the receiver or `tx_dropped` of the sender.
    pub frames: u64,
    pub elapsed: Duration,
    /// Processor time of the sending thread. With [`Napi::Sender`](crate::Napi::Sender) the
    /// receiver's work is in it, and it stays true while other programs use the processor.
    pub busy: Duration,
}

impl StreamSpec {
    /// SYNs from a million flows in scattered order, as fast as it goes.
    #[must_use]
    pub const fn syns(to: SocketAddr, to_mac: [u8; 6]) -> Self {
        Self {
            to,
            to_mac,
            vlan: 0,
            tcp_flags: tcp_flag::SYN,
            sources: Sources::Range,
            flows: 1 << 20,
            scatter: true,
            rate: None,
            turns: 1 << 18,
            cpu: None,
        }
    }

    fn layout(&self, ifindex: u32) -> Result<Stream> {
        anyhow::ensure!(
            self.flows.is_power_of_two(),
            "the number of flows is a power of two"
        );
        let mut stream = Stream::new_zeroed();
        stream.interval_ns = self.rate.map_or(0, |rate| 1_000_000_000 / rate.max(1));
        stream.flow_mask = self.flows - 1;
        stream.step = if self.scatter { 0x9e37_79b1 } else { 1 };
        stream.ifindex = ifindex;
        let everywhere = self.sources == Sources::Everywhere;
        stream.everywhere = everywhere.into();
        stream.address_bits = match self.sources {
            Sources::One => 0,
            Sources::Network => 8,
            Sources::Range | Sources::Everywhere => 17,
        };
        let is_syn = self.tcp_flags & tcp_flag::SYN != 0;
        let tcp_len = if is_syn { 24 } else { 20 };

        let ip = self.ethernet(&mut stream);
        let template = &mut stream.template;
        let (tcp, addresses) = match self.to.ip() {
            IpAddr::V4(to) => {
                stream.header_len = if is_syn { IPV4_SYN_LEN } else { IPV4_LEN } as u32;
                stream.base = if everywhere { 0x1000_0000 } else { 0xc612_0000 };
                template[ip..ip + 9].copy_from_slice(&[
                    0x45,
                    0,
                    0,
                    20 + tcp_len,
                    0,
                    0,
                    0x40,
                    0,
                    64,
                ]);
                template[ip + 9] = libc::IPPROTO_TCP as u8;
                template[ip + 12..ip + 16].copy_from_slice(&stream.base.to_be_bytes());
                template[ip + 16..ip + 20].copy_from_slice(&to.octets());
                stream.ip_sum = sum(&template[ip..ip + 20]);
                (ip + 20, ip + 12..ip + 20)
            }
            IpAddr::V6(to) => {
                stream.header_len = if is_syn { IPV6_SYN_LEN } else { IPV6_LEN } as u32;
                template[ip..ip + 8].copy_from_slice(&[0x60, 0, 0, 0, 0, tcp_len, 6, 64]);
                let network: &[u8] = if everywhere {
                    &[0x3f, 0xff]
                } else {
                    &[0x20, 1, 0, 2]
                };
                template[ip + 8..ip + 8 + network.len()].copy_from_slice(network);
                template[ip + 24..ip + 40].copy_from_slice(&to.octets());
                (ip + 40, ip + 8..ip + 40)
            }
        };
        let tcp_end = tcp + usize::from(tcp_len);
        template[tcp + 2..tcp + 4].copy_from_slice(&self.to.port().to_be_bytes());
        template[tcp + 12] = tcp_len << 2;
        template[tcp + 13] = self.tcp_flags;
        template[tcp + 14..tcp + 16].copy_from_slice(&64240_u16.to_be_bytes());
        if is_syn {
            template[tcp + 20..tcp + 22].copy_from_slice(&[2, 4]);
            template[tcp + 22..tcp_end].copy_from_slice(&MSS.to_be_bytes());
        }
        // Pseudo header: addresses, protocol, length.
        stream.tcp_sum =
            sum(&template[addresses]) + 6 + u32::from(tcp_len) + sum(&template[tcp..tcp_end]);
        Ok(stream)
    }

    /// Writes the Ethernet header; returns its length.
    fn ethernet(&self, stream: &mut Stream) -> usize {
        let template = &mut stream.template;
        template[..6].copy_from_slice(&self.to_mac);
        template[6..12].copy_from_slice(&[2, 0, 0, 0, 0, INVENTED]);
        let mut len = ETHERNET_LEN;
        if self.vlan != 0 {
            template[12..16].copy_from_slice(&[0x81, 0, 0, self.vlan]);
            len = TAGGED_LEN;
        }
        let kind = if self.to.is_ipv4() {
            [8, 0]
        } else {
            [0x86, 0xdd]
        };
        template[len - 2..len].copy_from_slice(&kind);
        stream.ethernet_len = len as u32;
        len
    }
}

/// Processor time of the calling thread.
fn busy() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for the write; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Unfolded sum of big-endian 16-bit words.
fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum()
}

/// Makes packets in the kernel (BPF_PROG_TEST_RUN with live frames, kernel 5.18) that leave by a
/// device as if a driver had sent them.
#[derive(Debug)]
pub struct Generator {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Result<Sent>>>>,
}

impl Generator {
    /// Sends exactly `frames` frames by `device` and returns.
    ///
    /// # Errors
    /// Without CAP_BPF and CAP_NET_ADMIN, or on a kernel without live frames.
    pub fn send(
        namespace: &Namespace,
        device: &str,
        spec: &StreamSpec,
        frames: u32,
    ) -> Result<Sent> {
        anyhow::ensure!(
            spec.rate.is_none(),
            "an exact number of frames cannot be paced"
        );
        let mut engine = Engine::new(namespace, device, spec)?;
        let start = Instant::now();
        let busy = namespace.enter(|| engine.run(frames).map(|()| busy()))??;
        Ok(Sent {
            frames: engine.progress()?.sent,
            elapsed: start.elapsed(),
            busy,
        })
    }

    /// Sends by `device` on a thread of its own until stopped or dropped.
    ///
    /// # Errors
    /// Without CAP_BPF and CAP_NET_ADMIN, or on a kernel without live frames.
    pub fn start(namespace: &Namespace, device: &str, spec: &StreamSpec) -> Result<Self> {
        let mut engine = Engine::new(namespace, device, spec)?;
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (stopped, so_far) = (Arc::clone(&stop), Arc::clone(&sent));
        let (turns, cpu) = (spec.turns, spec.cpu);
        let thread = namespace.spawn(move || {
            if let Some(cpu) = cpu {
                cpu.pin()?;
            }
            let start = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                engine.run(turns)?;
                so_far.store(engine.progress()?.sent, Ordering::Relaxed);
            }
            Ok(Sent {
                frames: engine.progress()?.sent,
                elapsed: start.elapsed(),
                busy: busy(),
            })
        });
        Ok(Self {
            stop,
            sent,
            thread: Some(thread),
        })
    }

    /// Frames sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops after the system call at hand.
    ///
    /// # Errors
    /// What went wrong while sending.
    pub fn stop(mut self) -> Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped twice")?;
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the generator panicked"))??
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whoever wants the error calls `stop`.
            let _ = thread.join();
        }
    }
}

struct Engine {
    object: aya::Ebpf,
    progress: Array<MapData, [u64; 3]>,
    frame: Vec<u8>,
}

impl Engine {
    fn new(namespace: &Namespace, device: &str, spec: &StreamSpec) -> Result<Self> {
        const { assert!(size_of::<Progress>() == size_of::<[u64; 3]>()) };
        let mut object = object()?;
        let layout = spec.layout(device::index(namespace, device)?)?;
        let mut stream: Array<_, [u8; size_of::<Stream>()]> = object
            .take_map(map::STREAM)
            .context("no map STREAM")?
            .try_into()?;
        let bytes: [u8; size_of::<Stream>()] = zerocopy::transmute!(layout);
        stream.set(0, bytes, 0)?;
        let progress = object
            .take_map(map::PROGRESS)
            .context("no map PROGRESS")?
            .try_into()?;
        let program: &mut Xdp = object
            .program_mut(program::GENERATE)
            .context("no generator")?
            .try_into()?;
        program.load().context("cannot load the generator")?;
        let headers = layout.ethernet_len + layout.header_len;
        let frame = vec![0; MIN_FRAME.max(headers as usize)];
        Ok(Self {
            object,
            progress,
            frame,
        })
    }

    fn run(&mut self, frames: u32) -> Result<()> {
        let program: &Xdp = self
            .object
            .program(program::GENERATE)
            .context("no generator")?
            .try_into()?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(&self.frame);
        options.repeat = frames;
        options.attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
        program
            .test_run(options)
            .context("cannot send live frames (needs kernel 5.18)")?;
        Ok(())
    }

    fn progress(&self) -> Result<Progress> {
        let words = self.progress.get(&0, 0)?;
        Progress::read_from_bytes(words.as_bytes())
            .map_err(|_| anyhow::anyhow!("the generator's state has another size"))
    }
}
