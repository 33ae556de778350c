use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::maps::{Array, MapData};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use sensor_ebpf::lab::{Progress, Stream, map, program};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use crate::{Namespace, device, object};

/// Frames that one system call makes. Each call costs some 27 ms of set-up, and a paced
/// generator can only stop between calls.
const PER_CALL: u32 = 1 << 18;

/// Frames handed to the device at once.
const BATCH: u32 = 64;

/// Shortest frame: 64 bytes with the FCS.
const MIN_FRAME: usize = 60;

/// Bit of the TCP header's flags.
pub mod tcp_flag {
    pub const SYN: u8 = 2;
    pub const ACK: u8 = 16;
}

/// What to send: TCP segments without payload.
#[derive(Clone, Copy, Debug)]
pub struct StreamSpec {
    /// Where to; its family is that of the stream. Sources are invented from 198.18.0.0/15 or
    /// 2001:2::/48.
    pub to: SocketAddr,
    pub to_mac: [u8; 6],
    /// TCP flags, see [`tcp_flag`].
    pub tcp_flags: u8,
    /// Number of flows, a power of two.
    pub flows: u32,
    /// Flows in scattered order rather than in turn.
    pub scatter: bool,
    /// Frames a second; `None` for as fast as it goes.
    pub rate: Option<u64>,
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
        let template = &mut stream.template;
        template[..6].copy_from_slice(&self.to_mac);
        template[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 3]);
        let tcp = match self.to.ip() {
            IpAddr::V4(to) => {
                template[12..14].copy_from_slice(&[8, 0]);
                template[14..23].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64]);
                template[23] = libc::IPPROTO_TCP as u8;
                template[26..30].copy_from_slice(&[198, 18, 0, 0]);
                template[30..34].copy_from_slice(&to.octets());
                stream.ip_sum = sum(&template[14..34]);
                34
            }
            IpAddr::V6(to) => {
                template[12..14].copy_from_slice(&[0x86, 0xdd]);
                template[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 20, 6, 64]);
                template[22..26].copy_from_slice(&[0x20, 1, 0, 2]);
                template[38..54].copy_from_slice(&to.octets());
                54
            }
        };
        stream.header_len = tcp as u32 + 20;
        template[tcp + 2..tcp + 4].copy_from_slice(&self.to.port().to_be_bytes());
        template[tcp + 12] = 0x50;
        template[tcp + 13] = self.tcp_flags;
        template[tcp + 14..tcp + 16].copy_from_slice(&64240_u16.to_be_bytes());
        let addresses = if tcp == 34 {
            &template[26..34]
        } else {
            &template[22..54]
        };
        // Pseudo header: addresses, protocol 6, length 20.
        stream.tcp_sum = sum(addresses) + 6 + 20 + sum(&template[tcp..tcp + 20]);
        Ok(stream)
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
        let thread = namespace.spawn(move || {
            let start = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                engine.run(PER_CALL)?;
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
        let frame = vec![0; MIN_FRAME.max(layout.header_len as usize)];
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
