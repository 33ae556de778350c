//! Where captured bytes live after the one copy out of the ring.

use bytes::{Bytes, BytesMut};

/// Bytes of one allocation that samples share. A sample that is kept pins its whole chunk, so this
/// bounds what one kept sample can cost; who keeps many small ones copies them.
const CHUNK: usize = 64 * 1024;

/// Cuts samples from chunks: an allocation for dozens of them instead of one each.
#[derive(Debug, Default)]
pub(super) struct Pool {
    chunk: BytesMut,
}

impl Pool {
    /// Copies `bytes` into the pool.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if self.chunk.capacity() < bytes.len() {
            // Takes the old chunk again if nobody holds a slice of it any more.
            self.chunk.reserve(CHUNK.max(bytes.len()));
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_keep_their_bytes() {
        let mut pool = Pool::default();
        let held: Vec<_> = (0..=255_u8).map(|byte| pool.copy(&[byte; 2048])).collect();
        for (byte, sample) in (0..=255_u8).zip(&held) {
            assert_eq!(sample[..], [byte; 2048]);
        }
        assert_eq!(pool.copy(&[]), Bytes::new());
        assert_eq!(pool.copy(&vec![7; 2 * CHUNK]).len(), 2 * CHUNK);
    }
}
