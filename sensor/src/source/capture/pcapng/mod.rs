//! The block format (draft-ietf-opsawg-pcapng): sections of either byte order, each with its own
//! interfaces, time resolutions and link types.
//!
//! Blocks are read as far as they are needed; what is not, options of a gigabyte or blocks
//! nobody knows, is passed over without being held.

mod interface;
mod options;

use bytes::Bytes;

use self::{interface::Interface, options::options};
use super::{
    error::Break,
    packet::{MAX_FRAME, Packet},
    stream::Stream,
};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const EPB_FLAGS: u16 = 2;

/// Block type and the total length in front of the body, and the total length behind it.
const FRAME: u64 = 12;
/// Bytes of options that are looked at; a section header's and packets' are far shorter.
const MAX_OPTIONS: u64 = 64 * 1024;
/// The field that names an interface has 32 bits; nobody has so many.
const MAX_INTERFACES: usize = 65_536;

/// A section's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endian {
    Little,
    Big,
}

impl Endian {
    #[inline]
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }

    #[inline]
    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }

    fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
        Some(match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        })
    }
}

/// The state of the current section.
#[derive(Debug)]
pub(super) struct Pcapng {
    endian: Endian,
    interfaces: Vec<Interface>,
    /// Blocks passed over: of types that carry no packets, or unknown ones.
    pub(super) other_blocks: u64,
    /// Where the block begins that is being read or was read last.
    pub(super) block_offset: u64,
}

/// A block's frame, before its body is read.
#[derive(Clone, Copy)]
struct Block {
    kind: u32,
    total: u32,
}

impl Pcapng {
    /// Whether a file that begins like this is one.
    pub(super) fn magic(head: &[u8]) -> bool {
        head.starts_with(&SECTION_HEADER.to_be_bytes())
    }

    pub(super) fn new() -> Self {
        Self {
            endian: Endian::Little,
            interfaces: Vec::new(),
            other_blocks: 0,
            block_offset: 0,
        }
    }

    /// The next packet, `None` at a clean end.
    #[inline]
    pub(super) fn next(&mut self, stream: &mut Stream) -> Result<Option<Packet>, Break> {
        loop {
            self.block_offset = stream.offset();
            let Some(block) = self.block(stream)? else {
                return Ok(None);
            };
            match block.kind {
                ENHANCED_PACKET | OBSOLETE_PACKET => {
                    return self.packet(stream, block).map(Some);
                }
                SIMPLE_PACKET => return self.simple_packet(stream, block).map(Some),
                SECTION_HEADER => self.section(stream, block)?,
                INTERFACE => self.interface(stream, block)?,
                _ => {
                    self.other_blocks += 1;
                    self.finish(stream, block)?;
                }
            }
        }
    }

    /// Type and length of the next block, not yet consumed.
    #[inline]
    fn block(&mut self, stream: &mut Stream) -> Result<Option<Block>, Break> {
        let head = stream.peek(FRAME as usize)?;
        if head.is_empty() {
            return Ok(None);
        }
        if head.len() < FRAME as usize {
            return Err(cut("a block's header", FRAME, head.len()));
        }
        if Self::magic(head) {
            // A section says its byte order itself, and before its length can be read.
            self.endian = match head[8..12] {
                [0x4d, 0x3c, 0x2b, 0x1a] => Endian::Little,
                [0x1a, 0x2b, 0x3c, 0x4d] => Endian::Big,
                _ => {
                    let magic = Endian::Big.u32(head, 8).unwrap_or(0);
                    return Err(Break::ByteOrder { magic });
                }
            };
        }
        let (kind, total) = (
            self.endian.u32(head, 0).unwrap_or(0),
            self.endian.u32(head, 4).unwrap_or(0),
        );
        if u64::from(total) < FRAME || total % 4 != 0 {
            return Err(Break::BlockLength {
                what: "a block",
                length: total.into(),
            });
        }
        Ok(Some(Block { kind, total }))
    }

    /// Peeks at a block's first `want` bytes, which its length must allow.
    fn head<'a>(
        &self,
        stream: &'a mut Stream,
        block: Block,
        what: &'static str,
        want: u64,
    ) -> Result<&'a [u8], Break> {
        if u64::from(block.total) < want + 4 {
            return Err(Break::BlockLength {
                what,
                length: block.total.into(),
            });
        }
        let head = stream.peek(want as usize)?;
        if (head.len() as u64) < want {
            return Err(cut(what, block.total.into(), head.len()));
        }
        Ok(head)
    }

    /// Passes over a block and compares its second length with the first.
    #[inline]
    fn finish(&self, stream: &mut Stream, block: Block) -> Result<(), Break> {
        let skipped = stream.skip(u64::from(block.total) - 4)?;
        let trailer = stream.peek(4)?;
        let Some(second) = self.endian.u32(trailer, 0) else {
            let left = skipped as usize + trailer.len();
            return Err(cut("the block", block.total.into(), left));
        };
        if second != block.total {
            return Err(Break::LengthMismatch {
                first: block.total,
                second,
            });
        }
        stream.consume(4);
        Ok(())
    }

    fn section(&mut self, stream: &mut Stream, block: Block) -> Result<(), Break> {
        let endian = self.endian;
        let head = self.head(stream, block, "a section header", 24)?;
        let (major, minor) = (
            endian.u16(head, 12).unwrap_or(0),
            endian.u16(head, 14).unwrap_or(0),
        );
        if major != 1 {
            return Err(Break::Version { major, minor });
        }
        self.interfaces.clear();
        // The section's length is not believed: blocks are read until the next section.
        self.finish(stream, block)
    }

    fn interface(&mut self, stream: &mut Stream, block: Block) -> Result<(), Break> {
        let endian = self.endian;
        let body = (u64::from(block.total) - FRAME).min(8 + MAX_OPTIONS);
        let head = self.head(stream, block, "an interface description", 8 + body.max(8))?;
        let body = &head[8..8 + body.max(8) as usize];
        let Some(interface) = Interface::parse(body, endian) else {
            return Err(Break::BlockLength {
                what: "an interface description",
                length: block.total.into(),
            });
        };
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(Break::TooManyInterfaces {
                limit: MAX_INTERFACES,
            });
        }
        self.interfaces.push(interface);
        self.finish(stream, block)
    }

    /// An enhanced packet block, or the obsolete one, which differs in its first word.
    #[inline]
    fn packet(&self, stream: &mut Stream, block: Block) -> Result<Packet, Break> {
        const HEADER: u64 = 28;
        let endian = self.endian;
        let head = self.head(stream, block, "a packet block", HEADER)?;
        let word = |at| endian.u32(head, at).unwrap_or(0);
        let number = if block.kind == ENHANCED_PACKET {
            word(8)
        } else {
            endian.u16(head, 8).unwrap_or(0).into()
        };
        let ticks = u64::from(word(12)) << 32 | u64::from(word(16));
        let (captured, wire_len) = (word(20), word(24));
        let Some(interface) = self.interfaces.get(number as usize) else {
            return Err(Break::NoInterface {
                interface: number,
                known: self.interfaces.len(),
            });
        };
        let data = self.data(stream, block, HEADER, captured)?;
        let padded = HEADER + u64::from(captured).next_multiple_of(4);
        let room = (u64::from(block.total) - 4).saturating_sub(padded);
        let mut fcs_len = interface.fcs_len;
        if (8..=MAX_OPTIONS).contains(&room) {
            let all = stream.peek((padded + room) as usize)?;
            let end = all.len().min((padded + room) as usize);
            if let Some(bytes) = all.get(padded as usize..end) {
                fcs_len = fcs_from_flags(bytes, endian).unwrap_or(fcs_len);
            }
        }
        self.finish(stream, block)?;
        let time = Some(interface.time(ticks));
        Ok(Packet {
            time,
            link: interface.link,
            wire_len,
            fcs_len,
            data,
        })
    }

    fn simple_packet(&self, stream: &mut Stream, block: Block) -> Result<Packet, Break> {
        const HEADER: u64 = 12;
        let endian = self.endian;
        let head = self.head(stream, block, "a simple packet block", HEADER)?;
        let wire_len = endian.u32(head, 8).unwrap_or(0);
        let Some(interface) = self.interfaces.first() else {
            return Err(Break::NoInterface {
                interface: 0,
                known: 0,
            });
        };
        let captured = if interface.snaplen == 0 {
            wire_len
        } else {
            wire_len.min(interface.snaplen)
        };
        let data = self.data(stream, block, HEADER, captured)?;
        self.finish(stream, block)?;
        let (link, fcs_len) = (interface.link, interface.fcs_len);
        Ok(Packet {
            time: None,
            link,
            wire_len,
            fcs_len,
            data,
        })
    }

    /// A packet's bytes, which begin `header` bytes into the block; not consumed.
    #[inline]
    fn data(
        &self,
        stream: &mut Stream,
        block: Block,
        header: u64,
        captured: u32,
    ) -> Result<Bytes, Break> {
        let room = u64::from(block.total) - 4 - header;
        if u64::from(captured) > room {
            return Err(Break::FrameOutsideBlock {
                length: captured.into(),
                room,
            });
        }
        if captured > MAX_FRAME {
            return Err(Break::FrameTooLong {
                length: captured.into(),
                limit: MAX_FRAME,
            });
        }
        let want = header as usize + captured as usize;
        let at_hand = stream.peek(want)?.len();
        if at_hand < want {
            return Err(cut("the packet block", block.total.into(), at_hand));
        }
        Ok(stream.slice(header as usize, captured as usize))
    }
}

/// The length of the frame check sequence, if a packet's flags say it: bits 5 to 8, bytes.
fn fcs_from_flags(bytes: &[u8], endian: Endian) -> Option<u32> {
    let (_, value) = options(bytes, endian).find(|(code, _)| *code == EPB_FLAGS)?;
    let length = endian.u32(value, 0)? >> 5 & 0xf;
    (length > 0).then_some(length)
}

fn cut(what: &'static str, wanted: u64, left: usize) -> Break {
    Break::CutOff {
        what,
        wanted,
        left: left as u64,
    }
}
