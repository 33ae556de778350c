use std::io::{self, Read};

use bytes::{Bytes, BytesMut};

/// Bytes asked of the source at a time. A frame keeps its whole chunk alive, so that this is
/// also what one retained frame can cost.
const CHUNK: usize = 256 * 1024;

/// A source read in large chunks, of which slices are handed out without copying.
///
/// A chunk is used again as soon as nobody holds a slice of it.
pub(super) struct Stream {
    source: Box<dyn Read + Send>,
    chunk: Bytes,
    /// Where the unread bytes of `chunk` begin and end.
    start: usize,
    end: usize,
    /// Stream offset of `chunk`'s first byte.
    base: u64,
    exhausted: bool,
}

impl Stream {
    pub(super) fn new(source: Box<dyn Read + Send>) -> Self {
        let chunk = Bytes::new();
        Self {
            source,
            chunk,
            start: 0,
            end: 0,
            base: 0,
            exhausted: false,
        }
    }

    /// Bytes consumed so far.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// The unread bytes at hand: at least `want`, fewer only where the source ends.
    #[inline]
    pub(super) fn peek(&mut self, want: usize) -> io::Result<&[u8]> {
        if self.end - self.start < want {
            self.refill(want)?;
        }
        Ok(&self.chunk[self.start..self.end])
    }

    /// A slice of the unread bytes at hand, not yet consumed; empty if it lies outside of them.
    #[inline]
    pub(super) fn slice(&self, from: usize, len: usize) -> Bytes {
        if from + len > self.end - self.start {
            return Bytes::new();
        }
        self.chunk.slice(self.start + from..self.start + from + len)
    }

    /// Consumes bytes at hand.
    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Consumes `count` bytes without keeping them; returns how many there were.
    pub(super) fn skip(&mut self, count: u64) -> io::Result<u64> {
        let mut left = count;
        while left > 0 {
            if self.start == self.end {
                self.refill(1)?;
            }
            let step = left.min((self.end - self.start) as u64);
            if step == 0 {
                break;
            }
            self.start += step as usize;
            left -= step;
        }
        Ok(count - left)
    }

    /// Moves the unread tail to the front of a chunk and fills it until `want` bytes are there.
    #[cold]
    fn refill(&mut self, want: usize) -> io::Result<()> {
        if self.exhausted {
            return Ok(());
        }
        let size = want.max(CHUNK);
        let old = std::mem::take(&mut self.chunk);
        let (start, tail) = (self.start, self.end - self.start);
        let mut chunk = match old.try_into_mut() {
            Ok(mut reused) if reused.len() >= size => {
                reused.copy_within(start..start + tail, 0);
                reused
            }
            Ok(small) => grown(&small[start..start + tail], size),
            Err(shared) => grown(&shared[start..start + tail], size),
        };
        self.base += start as u64;
        self.start = 0;
        self.end = tail;
        let mut outcome = Ok(());
        while self.end < want {
            match self.source.read(&mut chunk[self.end..]) {
                Ok(0) => {
                    self.exhausted = true;
                    break;
                }
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.chunk = chunk.freeze();
        outcome
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

fn grown(tail: &[u8], size: usize) -> BytesMut {
    let mut chunk = BytesMut::zeroed(size);
    chunk[..tail.len()].copy_from_slice(tail);
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out one byte at a time, as a slow pipe does.
    struct Drip(Vec<u8>, usize);

    impl Read for Drip {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(byte) = self.0.get(self.1) else {
                return Ok(0);
            };
            buffer[0] = *byte;
            self.1 += 1;
            Ok(1)
        }
    }

    #[test]
    fn slices_survive_refills() {
        let data: Vec<u8> = (0..CHUNK * 3).map(|i| (i % 251) as u8).collect();
        let mut stream = Stream::new(Box::new(io::Cursor::new(data.clone())));
        let mut held = Vec::new();
        for _ in 0..(CHUNK * 3 / 1000) {
            assert!(stream.peek(1000).unwrap().len() >= 1000);
            held.push(stream.slice(0, 1000));
            stream.consume(1000);
        }
        for (index, slice) in held.iter().enumerate() {
            assert_eq!(slice[..], data[index * 1000..index * 1000 + 1000]);
        }
        assert_eq!(stream.offset(), (CHUNK * 3 / 1000 * 1000) as u64);
    }

    #[test]
    fn a_dripping_source_is_waited_for() {
        let mut stream = Stream::new(Box::new(Drip((0..100).collect(), 0)));
        assert_eq!(stream.peek(60).unwrap(), (0..60).collect::<Vec<u8>>());
        assert_eq!(stream.skip(90).unwrap(), 90);
        assert_eq!(stream.peek(60).unwrap().len(), 10);
        assert_eq!(stream.skip(60).unwrap(), 10);
        assert_eq!(stream.offset(), 100);
    }

    #[test]
    fn a_chunk_nobody_holds_is_used_again() {
        let mut stream = Stream::new(Box::new(io::repeat(7)));
        stream.peek(1).unwrap();
        let first = stream.chunk.as_ptr();
        stream.skip(CHUNK as u64 * 4).unwrap();
        assert_eq!(stream.chunk.as_ptr(), first);
    }
}
