//! Capture files as frames: pcap and pcapng, plain, gzip or zstd, from a file or a pipe.
//!
//! The formats are read here rather than by a parser crate: a break has to be told by byte
//! offset and packet, frames are handed out as slices of large chunks, and a claimed length must
//! never decide what is allocated. That leaves no work which a crate could take over.
//!
//! A frame's bytes keep a chunk of 256 KiB alive: who stores payload beyond a call copies it.

mod decompress;
mod error;
pub mod linktype;
mod packet;
mod pcap;
mod pcapng;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub use self::error::{Break, CaptureError};
use self::{packet::Packet, pcap::Pcap, pcapng::Pcapng, stream::Stream};
use crate::core::{
    frame::{Frame, Origin},
    time::Timestamp,
};

/// What a reader has met so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureStats {
    /// Packets in the file, also those of link types that are not decoded.
    pub packets: u64,
    /// Their bytes on the wire, without FCS.
    pub bytes: u64,
    /// Packets of link types that are not decoded, by number in the LINKTYPE_ registry.
    pub unsupported: BTreeMap<u32, u64>,
    /// Packets without a time (simple packet blocks), which took the one before them.
    pub untimed: u64,
    /// pcapng blocks passed over, since they carry no packets or are unknown.
    pub other_blocks: u64,
}

impl CaptureStats {
    /// Adds another file's.
    pub fn merge(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        for (link, packets) in &other.unsupported {
            *self.unsupported.entry(*link).or_default() += packets;
        }
        self.untimed += other.untimed;
        self.other_blocks += other.other_blocks;
    }
}

/// An open capture: an iterator over its frames that ends after the first error.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    stream: Stream,
    format: Format,
    stats: CaptureStats,
    /// Number of the packet before the file's first, see [`Reader::numbered_after`].
    base: u64,
    last_time: Timestamp,
    ended: bool,
    size: Option<u64>,
    consumed: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Box<Pcapng>),
}

impl Reader {
    /// Opens a file, or stdin for `-`, and reads as far as the file's header.
    ///
    /// # Errors
    /// If the file cannot be opened, is not a capture, or breaks off within its header.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        if path.as_os_str() == "-" {
            return Self::new(Path::new("stdin"), Box::new(io::stdin()), None);
        }
        let failed = |source| CaptureError::Open {
            path: path.to_path_buf(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let size = metadata.is_file().then_some(metadata.len());
        Self::new(path, Box::new(file), size)
    }

    /// Reads a capture from any source; `name` is for messages.
    ///
    /// # Errors
    /// If the source cannot be read, is not a capture, or breaks off within its header.
    pub fn from_source(name: &Path, source: Box<dyn Read + Send>) -> Result<Self, CaptureError> {
        Self::new(name, source, None)
    }

    fn new(
        path: &Path,
        source: Box<dyn Read + Send>,
        size: Option<u64>,
    ) -> Result<Self, CaptureError> {
        let path = path.to_path_buf();
        let consumed = Arc::new(AtomicU64::new(0));
        let broken = |path: &Path, offset, reason| CaptureError::Broken {
            path: path.to_path_buf(),
            offset,
            packet: 1,
            reason,
        };
        let counted = Counted {
            source,
            consumed: Arc::clone(&consumed),
        };
        let plain = decompress::by_magic(Box::new(counted))
            .map_err(|error| broken(&path, 0, error.into()))?;
        let mut stream = Stream::new(plain);
        let head = stream
            .peek(4)
            .map_err(|error| broken(&path, 0, error.into()))?;
        let format = if Pcapng::magic(head) {
            Format::Pcapng(Box::new(Pcapng::new()))
        } else if let Some((magic, big_endian)) = Pcap::magic(head) {
            Format::Pcap(
                Pcap::open(&mut stream, magic, big_endian)
                    .map_err(|reason| broken(&path, 0, reason))?,
            )
        } else {
            return Err(CaptureError::NotACapture {
                path,
                magic: describe(head),
            });
        };
        Ok(Self {
            path,
            stream,
            format,
            stats: CaptureStats::default(),
            base: 0,
            last_time: Timestamp::default(),
            ended: false,
            size,
            consumed,
        })
    }

    /// Numbers packets on from `packets`: several files are read as one.
    #[must_use]
    pub fn numbered_after(mut self, packets: u64) -> Self {
        self.base = packets;
        self
    }

    /// What was met so far.
    #[must_use]
    pub fn stats(&self) -> CaptureStats {
        let mut stats = self.stats.clone();
        if let Format::Pcapng(pcapng) = &self.format {
            stats.other_blocks = pcapng.other_blocks;
        }
        stats
    }

    /// Bytes read from the file so far (compressed ones, where it is), and how many it has, if
    /// it is a regular file.
    #[must_use]
    pub fn progress(&self) -> (u64, Option<u64>) {
        (self.consumed.load(Ordering::Relaxed), self.size)
    }

    /// The next frame; packets of unsupported link types are counted and passed over.
    #[inline]
    fn next_frame(&mut self) -> Result<Option<Frame>, CaptureError> {
        loop {
            let offset = self.stream.offset();
            let next = match &mut self.format {
                Format::Pcap(pcap) => pcap.next(&mut self.stream),
                Format::Pcapng(pcapng) => pcapng.next(&mut self.stream),
            };
            let packet = match next {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(None),
                Err(reason) => return Err(self.broken(offset, reason)),
            };
            if let Some(frame) = self.frame(packet) {
                return Ok(Some(frame));
            }
        }
    }

    #[inline]
    fn frame(&mut self, mut packet: Packet) -> Option<Frame> {
        packet.normalise();
        self.stats.packets += 1;
        self.stats.bytes += u64::from(packet.wire_len);
        if let Some(time) = packet.time {
            self.last_time = time;
        } else {
            self.stats.untimed += 1;
        }
        let Some(link) = linktype::supported(packet.link) else {
            *self.stats.unsupported.entry(packet.link).or_default() += 1;
            return None;
        };
        Some(Frame {
            time: self.last_time,
            link,
            origin: Origin::Capture {
                number: self.base + self.stats.packets,
            },
            wire_len: packet.wire_len,
            data: packet.data,
        })
    }

    #[cold]
    fn broken(&self, record: u64, reason: Break) -> CaptureError {
        let offset = match &self.format {
            Format::Pcap(_) => record,
            Format::Pcapng(pcapng) => pcapng.block_offset,
        };
        let packet = self.stats.packets + 1;
        CaptureError::Broken {
            path: self.path.clone(),
            offset,
            packet,
            reason,
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Frame, CaptureError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.next_frame().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

/// Counts what is read from the file itself, below decompression.
struct Counted {
    source: Box<dyn Read + Send>,
    consumed: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.consumed.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// A file's first bytes, for a person.
fn describe(head: &[u8]) -> String {
    if head.is_empty() {
        return "nothing: it is empty".to_owned();
    }
    head.iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}
