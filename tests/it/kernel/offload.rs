//! Packets for the classifiers: what segmentation offload or GRO tells of them.

use anyhow::Result;

use super::frames::{tcp, tcp_flag};
use super::programs::Programs;

/// `TC_ACT_UNSPEC`, which is -1: the next program or filter decides.
const NEXT: u32 = u32::MAX;

/// Offsets in `struct __sk_buff`, `include/uapi/linux/bpf.h`.
const WIRE_LEN: usize = 160;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;
const CONTEXT: usize = 192;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offload {
    pub(super) wire_len: u32,
    pub(super) segments: u32,
    pub(super) segment_size: u32,
}

impl Offload {
    /// Runs a classifier, which has to leave the packet to the next one.
    pub(super) fn run(self, programs: &Programs, name: &str, frame: &[u8]) -> Result<()> {
        let mut context = [0; CONTEXT];
        for (at, value) in [
            (WIRE_LEN, self.wire_len),
            (GSO_SEGS, self.segments),
            (GSO_SIZE, self.segment_size),
        ] {
            context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        assert_eq!(programs.classify(name, frame, &context)?, NEXT);
        Ok(())
    }
}

/// A TCP segment with so many bytes of payload behind its 54 bytes of headers.
pub(super) fn segment(payload: usize) -> Vec<u8> {
    let mut frame = tcp(tcp_flag::ACK);
    frame.resize(54 + payload, 0x33);
    let length = (frame.len() as u16 - 14).to_be_bytes();
    frame[16..18].copy_from_slice(&length);
    frame
}
