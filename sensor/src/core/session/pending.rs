//! Bytes that a prober or parser has been shown and not yet consumed.

use bytes::{Bytes, BytesMut};

#[derive(Debug, Default)]
pub(crate) struct Pending {
    bytes: BytesMut,
    /// Showing fewer bytes than these is pointless.
    pub(crate) wanted: usize,
}

impl Pending {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds new bytes and gives all that are unconsumed: the new ones themselves where nothing
    /// waits.
    pub(crate) fn join(&mut self, new: Bytes) -> Bytes {
        if self.bytes.is_empty() {
            return new;
        }
        self.bytes.extend_from_slice(&new);
        std::mem::take(&mut self.bytes).freeze()
    }

    /// Keeps what was not consumed. Copies what is a slice of somebody else's buffer; what
    /// [`Self::join`] gave comes back as it is, if nobody else holds any of it.
    pub(crate) fn keep(&mut self, rest: Bytes) {
        self.bytes = if rest.is_empty() {
            BytesMut::new()
        } else {
            rest.try_into_mut()
                .unwrap_or_else(|shared| BytesMut::from(&shared[..]))
        };
    }

    /// All bytes, which are then forgotten.
    pub(crate) fn take(&mut self) -> Bytes {
        self.wanted = 0;
        std::mem::take(&mut self.bytes).freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_bytes_are_copied_once() {
        let frame = Bytes::from(vec![7; 1000]);
        let mut pending = Pending::default();
        pending.keep(frame.slice(1..));
        assert_ne!(pending.bytes.as_ptr(), frame[1..].as_ptr(), "frames go");
        pending.bytes.reserve(4000);
        let at = pending.bytes.as_ptr();
        for length in [1999, 2999, 3999] {
            let joined = pending.join(frame.clone());
            assert_eq!((joined.len(), joined.as_ptr()), (length, at));
            pending.keep(joined);
        }
        assert_eq!(pending.bytes.as_ptr(), at);
    }
}
