use bytes::Bytes;

use crate::core::time::Timestamp;

/// Longest captured frame that is believed, bytes. GSO frames with BIG TCP reach 512 KiB.
pub(super) const MAX_FRAME: u32 = 1024 * 1024;

/// A packet as a file tells it, before its link type is looked at.
#[derive(Debug)]
pub(super) struct Packet {
    /// `None` where the format has no time (simple packet blocks).
    pub(super) time: Option<Timestamp>,
    pub(super) link: u32,
    /// As claimed: perhaps less than was captured, perhaps with FCS.
    pub(super) wire_len: u32,
    /// Bytes of frame check sequence at the end of the frame on the wire.
    pub(super) fcs_len: u32,
    pub(super) data: Bytes,
}

impl Packet {
    /// Takes the frame check sequence off and mends a wire length below the captured one.
    #[inline]
    pub(super) fn normalise(&mut self) {
        self.wire_len = self.wire_len.max(self.data.len() as u32);
        if self.fcs_len > 0 {
            self.wire_len = self.wire_len.saturating_sub(self.fcs_len);
            self.data.truncate(self.wire_len as usize);
        }
    }
}
