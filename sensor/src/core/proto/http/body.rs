//! Where a message's body ends (RFC 9112 sections 6 and 7).

use memchr::memchr;

use super::parser::{Head, Kind, trim};

/// Longest line of a chunk's size or of a trailer, in bytes.
const MAX_LINE: usize = 8 * 1024;

/// What is left of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked(Chunk),
    UntilClose,
}

/// Position within a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Size,
    Data(u64),
    /// The line end behind a chunk.
    DataEnd,
    Trailer,
}

/// What a head says about its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Framing {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    /// Several Content-Length fields that disagree.
    pub(super) duplicate_length: bool,
    pub(super) invalid_length: bool,
    pub(super) invalid_encoding: bool,
}

impl Framing {
    pub(super) fn of(head: &Head<'_>) -> Self {
        let mut framing = Self::default();
        for (name, value) in &head.fields {
            if name.eq_ignore_ascii_case(b"content-length") {
                // RFC 9112 section 6.3: a list of equal values counts as one.
                for value in value.split(|&byte| byte == b',').map(trim) {
                    match decimal(value) {
                        None => framing.invalid_length = true,
                        Some(length) if framing.length.is_some_and(|first| first != length) => {
                            framing.duplicate_length = true;
                        }
                        Some(length) => framing.length = Some(length),
                    }
                }
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                let last = value
                    .rsplit(|&byte| byte == b',')
                    .next()
                    .unwrap_or_default();
                if trim(last).eq_ignore_ascii_case(b"chunked") {
                    framing.chunked = true;
                } else if !trim(last).eq_ignore_ascii_case(b"identity") {
                    framing.invalid_encoding = true;
                }
            }
        }
        framing
    }

    /// The body to expect; `None` if there is none. Chunked wins over a length (RFC 9112
    /// section 6.3).
    pub(super) const fn body(self, kind: Kind) -> Option<Body> {
        match (self.chunked, self.length, kind) {
            (true, ..) => Some(Body::Chunked(Chunk::Size)),
            (false, Some(0), _) | (false, None, Kind::Request) => None,
            (false, Some(length), _) => Some(Body::Length(length)),
            (false, None, Kind::Response) => Some(Body::UntilClose),
        }
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits
        .then(|| std::str::from_utf8(text).ok()?.parse().ok())
        .flatten()
}

/// What one look at the body gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes belong to the body, of which `data` are content; what follows is more of it.
    More { consumed: usize, data: usize },
    /// The same, and the body ends there.
    End { consumed: usize, data: usize },
    /// A line is incomplete.
    Need,
    /// Chunk framing that cannot be read.
    Broken,
}

impl Body {
    /// Takes body bytes from the start of `data`, which is not empty.
    pub(super) fn take(&mut self, data: &[u8]) -> Step {
        let bounded = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
        match self {
            Self::UntilClose => Step::More {
                consumed: data.len(),
                data: data.len(),
            },
            Self::Length(left) => {
                let consumed = bounded(*left);
                *left -= consumed as u64;
                if *left == 0 {
                    Step::End {
                        consumed,
                        data: consumed,
                    }
                } else {
                    Step::More {
                        consumed,
                        data: consumed,
                    }
                }
            }
            Self::Chunked(Chunk::Data(left)) => {
                let consumed = bounded(*left);
                *left -= consumed as u64;
                if *left == 0 {
                    *self = Self::Chunked(Chunk::DataEnd);
                }
                Step::More {
                    consumed,
                    data: consumed,
                }
            }
            Self::Chunked(chunk) => {
                let Some(end) = memchr(b'\n', data) else {
                    return if data.len() > MAX_LINE {
                        Step::Broken
                    } else {
                        Step::Need
                    };
                };
                let line = trim(data.get(..end).unwrap_or_default());
                let consumed = end + 1;
                let next = match chunk {
                    Chunk::Size => match chunk_size(line) {
                        None => return Step::Broken,
                        Some(0) => Chunk::Trailer,
                        Some(size) => Chunk::Data(size),
                    },
                    Chunk::DataEnd if !line.is_empty() => return Step::Broken,
                    Chunk::Trailer if line.is_empty() => return Step::End { consumed, data: 0 },
                    Chunk::DataEnd | Chunk::Data(_) => Chunk::Size,
                    Chunk::Trailer => Chunk::Trailer,
                };
                *chunk = next;
                Step::More { consumed, data: 0 }
            }
        }
    }

    /// Skips a hole of `length` bytes; false if the body's end is lost with it.
    pub(super) fn skip(&mut self, length: u64) -> bool {
        match self {
            Self::UntilClose => true,
            Self::Length(left) | Self::Chunked(Chunk::Data(left)) if *left > length => {
                *left -= length;
                true
            }
            Self::Length(_) | Self::Chunked(_) => false,
        }
    }
}

/// RFC 9112 section 7.1; extensions are ignored.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = trim(line.split(|&byte| byte == b';').next().unwrap_or_default());
    let digits = !size.is_empty() && size.len() <= 15 && size.iter().all(u8::is_ascii_hexdigit);
    digits
        .then(|| u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok())
        .flatten()
}
