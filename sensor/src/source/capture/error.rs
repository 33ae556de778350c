use std::{io, path::PathBuf};

/// Why a capture could not be opened, or where and why reading it stopped.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("{}: cannot open: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error(
        "{}: not a capture file: it starts with {magic}; sensor reads pcap and pcapng, plain or \
         compressed with gzip or zstd",
        path.display()
    )]
    NotACapture { path: PathBuf, magic: String },
    #[error("{}: stopped at byte {offset}, packet {packet}: {reason}", path.display())]
    Broken {
        path: PathBuf,
        /// Where the record begins that could not be read: bytes from the start of the
        /// (decompressed) capture.
        offset: u64,
        /// The file's packet, from 1, that was being read or is the next.
        packet: u64,
        reason: Break,
    },
}

/// What is wrong with a capture at the place where reading it stopped.
#[derive(Debug, thiserror::Error)]
pub enum Break {
    #[error("the file is cut off: {what} needs {wanted} bytes, {left} are left")]
    CutOff {
        what: &'static str,
        wanted: u64,
        left: u64,
    },
    #[error("a packet of {length} bytes is claimed, more than any frame has (at most {limit})")]
    FrameTooLong { length: u64, limit: u32 },
    #[error("a packet of {length} bytes is claimed in a block with room for {room}")]
    FrameOutsideBlock { length: u64, room: u64 },
    #[error("{what} has the impossible length {length}")]
    BlockLength { what: &'static str, length: u64 },
    #[error("the block's two lengths differ: {first} in front, {second} behind")]
    LengthMismatch { first: u32, second: u32 },
    #[error("the packet names interface {interface}, the section describes {known}")]
    NoInterface { interface: u32, known: usize },
    #[error("more than {limit} interfaces are described")]
    TooManyInterfaces { limit: usize },
    #[error("a section's byte-order magic is 0x{magic:08x}")]
    ByteOrder { magic: u32 },
    #[error("format version {major}.{minor} is not known")]
    Version { major: u16, minor: u16 },
    #[error("{0}")]
    Read(#[from] io::Error),
}
