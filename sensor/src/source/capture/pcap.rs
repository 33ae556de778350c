//! The classic format (draft-ietf-opsawg-pcap), in both byte orders and three flavours.

use super::{
    error::Break,
    linktype,
    packet::{MAX_FRAME, Packet},
    stream::Stream,
};
use crate::core::time::Timestamp;

const MICRO: u32 = 0xa1b2_c3d4;
const NANO: u32 = 0xa1b2_3c4d;
/// Kuznetzov's patched libpcap: 24-byte record headers.
const MODIFIED: u32 = 0xa1b2_cd34;

pub(super) const FILE_HEADER: usize = 24;

/// A file's header: how its records are to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pcap {
    big_endian: bool,
    nanoseconds: bool,
    record_header: usize,
    /// Format versions before 2.3, and a few programs at 2.3, wrote the two lengths swapped.
    minor: u16,
    link: u32,
    fcs_len: u32,
}

impl Pcap {
    /// Whether a file that begins like this is one, and if so how its magic reads.
    pub(super) fn magic(head: &[u8]) -> Option<(u32, bool)> {
        let bytes: [u8; 4] = head.get(..4)?.try_into().ok()?;
        [
            (u32::from_le_bytes(bytes), false),
            (u32::from_be_bytes(bytes), true),
        ]
        .into_iter()
        .find(|(magic, _)| [MICRO, NANO, MODIFIED].contains(magic))
    }

    /// Reads the file header.
    pub(super) fn open(stream: &mut Stream, magic: u32, big_endian: bool) -> Result<Self, Break> {
        let head = stream.peek(FILE_HEADER)?;
        let (Some(major), Some(minor), Some(field)) = (
            u16_at(head, 4, big_endian),
            u16_at(head, 6, big_endian),
            u32_at(head, 20, big_endian),
        ) else {
            let left = head.len() as u64;
            return Err(Break::CutOff {
                what: "the file header",
                wanted: FILE_HEADER as u64,
                left,
            });
        };
        if major != 2 {
            return Err(Break::Version { major, minor });
        }
        stream.consume(FILE_HEADER);
        Ok(Self {
            big_endian,
            nanoseconds: magic == NANO,
            record_header: if magic == MODIFIED { 24 } else { 16 },
            minor,
            link: linktype::number(field),
            fcs_len: linktype::fcs_len(field),
        })
    }

    /// The next packet, `None` at a clean end. On errors nothing is consumed.
    #[inline]
    pub(super) fn next(&self, stream: &mut Stream) -> Result<Option<Packet>, Break> {
        let head = stream.peek(self.record_header)?;
        let (Some(seconds), Some(fraction), Some(mut captured), Some(mut wire)) = (
            u32_at(head, 0, self.big_endian),
            u32_at(head, 4, self.big_endian),
            u32_at(head, 8, self.big_endian),
            u32_at(head, 12, self.big_endian),
        ) else {
            return if head.is_empty() {
                Ok(None)
            } else {
                Err(self.cut(head.len()))
            };
        };
        if head.len() < self.record_header {
            return Err(self.cut(head.len()));
        }
        if self.minor < 3 || (self.minor == 3 && captured > wire) {
            std::mem::swap(&mut captured, &mut wire);
        }
        if captured > MAX_FRAME {
            return Err(Break::FrameTooLong {
                length: captured.into(),
                limit: MAX_FRAME,
            });
        }
        let (header, length) = (self.record_header, captured as usize);
        let at_hand = stream.peek(header + length)?.len();
        if at_hand < header + length {
            let left = (at_hand - header) as u64;
            return Err(Break::CutOff {
                what: "the packet",
                wanted: captured.into(),
                left,
            });
        }
        let data = stream.slice(header, length);
        stream.consume(header + length);
        let unit = if self.nanoseconds { 1 } else { 1000 };
        let nanoseconds = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit;
        Ok(Some(Packet {
            time: Some(Timestamp(nanoseconds)),
            link: self.link,
            wire_len: wire,
            fcs_len: self.fcs_len,
            data,
        }))
    }

    #[cold]
    fn cut(&self, left: usize) -> Break {
        let wanted = self.record_header as u64;
        Break::CutOff {
            what: "the packet's header",
            wanted,
            left: left as u64,
        }
    }
}

#[inline]
fn u16_at(bytes: &[u8], at: usize, big_endian: bool) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(if big_endian {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    })
}

#[inline]
fn u32_at(bytes: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(if big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    })
}
