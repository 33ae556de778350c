//! DNS messages in wire format (RFC 1035 section 4), without copies.

use crate::core::proto::cursor::Cursor;

/// Length of the header.
pub(super) const HEADER: usize = 12;
/// RFC 1035 section 2.3.4.
const MAX_NAME: usize = 255;
/// Most records that are read of one message. A full-sized zone transfer message has fewer; a
/// lying one has up to 5,957.
pub(super) const MAX_RECORDS: usize = 2048;

/// A message's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id: u16,
    pub(super) flags: u16,
    /// Questions, answers, authorities, additionals.
    pub(super) counts: [u16; 4],
}

impl Header {
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(data);
        let mut word = || cursor.u16();
        Some(Self {
            id: word()?,
            flags: word()?,
            counts: [word()?, word()?, word()?, word()?],
        })
    }

    pub(super) const fn is_response(self) -> bool {
        self.flags & 0x8000 != 0
    }

    pub(super) const fn opcode(self) -> u8 {
        (self.flags >> 11 & 15) as u8
    }

    /// Whether `length` bytes can hold what the header announces: a question takes 5 bytes or
    /// more, a record 11 or more.
    pub(super) fn fits(self, length: usize) -> bool {
        let records: usize = self
            .counts
            .iter()
            .skip(1)
            .map(|&count| usize::from(count))
            .sum();
        HEADER + 5 * usize::from(self.counts[0]) + 11 * records <= length
    }
}

/// A domain name in presentation form: labels joined by `.`, bytes as they are, the root empty.
#[derive(Clone)]
pub(super) struct Name {
    bytes: [u8; MAX_NAME],
    length: u8,
}

impl Name {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

/// Reads the name at `at` of the whole `message`: the name, and where what follows it starts.
/// `None` if it leaves the message, exceeds 255 octets or has a pointer that does not point
/// backwards (RFC 1035 section 4.1.4: "a prior occurrence"), which also rules out loops.
pub(super) fn name(message: &[u8], at: usize) -> Option<(Name, usize)> {
    let mut name = Name {
        bytes: [0; MAX_NAME],
        length: 0,
    };
    let mut length = 0;
    let mut position = at;
    // Pointers must go below everything read so far.
    let mut limit = at;
    let mut next = None;
    loop {
        let octet = usize::from(*message.get(position)?);
        match octet >> 6 {
            0 if octet == 0 => {
                // The longest name has 253 characters, so it fits.
                name.length = length as u8;
                return Some((name, next.unwrap_or(position + 1)));
            }
            0 => {
                let label = message.get(position + 1..position + 1 + octet)?;
                if length > 0 {
                    *name.bytes.get_mut(length)? = b'.';
                    length += 1;
                }
                // With the root's octet and the first label's length, the wire form is two longer.
                name.bytes
                    .get_mut(length..length + octet)?
                    .copy_from_slice(label);
                length += octet;
                if length + 2 > MAX_NAME {
                    return None;
                }
                position += 1 + octet;
            }
            3 => {
                let target = (octet & 0x3f) << 8 | usize::from(*message.get(position + 1)?);
                next.get_or_insert(position + 2);
                if target >= limit || target < HEADER {
                    return None;
                }
                limit = target;
                position = target;
            }
            _ => return None,
        }
    }
}

/// A question.
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) kind: u16,
    pub(super) class: u16,
}

/// The question at `at`, and where what follows it starts.
pub(super) fn question(message: &[u8], at: usize) -> Option<(Question, usize)> {
    let (name, at) = name(message, at)?;
    let mut cursor = Cursor::new(message.get(at..)?);
    let question = Question {
        name,
        kind: cursor.u16()?,
        class: cursor.u16()?,
    };
    Some((question, at + 4))
}

/// A resource record; its data is `message[data..end]`.
pub(super) struct RawRecord {
    pub(super) name: Name,
    pub(super) kind: u16,
    pub(super) ttl: u32,
    pub(super) data: usize,
    pub(super) end: usize,
}

/// The record at `at`; the next one starts at its `end`.
pub(super) fn record(message: &[u8], at: usize) -> Option<RawRecord> {
    let (name, at) = name(message, at)?;
    let mut cursor = Cursor::new(message.get(at..)?);
    let kind = cursor.u16()?;
    let _class = cursor.u16()?;
    let ttl = cursor.u32()?;
    let length = usize::from(cursor.u16()?);
    cursor.take(length)?;
    let data = at + 10;
    Some(RawRecord {
        name,
        kind,
        ttl,
        data,
        end: data + length,
    })
}

/// A stream's first message: its bytes behind the length (RFC 1035 section 4.2.2), or how many
/// bytes the stream needs before there is one.
pub(super) fn framed(stream: &[u8]) -> Result<&[u8], usize> {
    let mut cursor = Cursor::new(stream);
    let Some(length) = cursor.u16() else {
        return Err(2);
    };
    cursor
        .take(length.into())
        .ok_or_else(|| 2 + usize::from(length))
}
