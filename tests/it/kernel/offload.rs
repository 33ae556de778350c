//! Packets for the classifiers: what segmentation offload or GRO tells of them.

use anyhow::Result;
use sensor_ebpf::abi::{Direction, Settings, mode, program};

use super::frames::{arp, tagged, tcp, tcp_flag, udp};
use super::programs::{LOOPBACK, Programs, Setup, loaded};

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

/// The classifier of a direction, which samples everything.
pub(super) fn classifier(direction: Direction) -> Result<Option<Programs>> {
    let setup = match direction {
        Direction::Ingress => Setup::of(&[program::INGRESS]),
        Direction::Egress => Setup::of(&[program::EGRESS]),
    };
    let mut programs = loaded(setup)?;
    if let Some(programs) = &mut programs {
        programs.set(Settings {
            mode: mode::SAMPLE_FULL,
            budget: [1000; 5],
            // Lists are in force, of which nothing is to ask here.
            lists_generation: 1,
            ..Settings::default()
        })?;
    }
    Ok(programs)
}

pub(super) const fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => program::INGRESS,
        Direction::Egress => program::EGRESS,
    }
}

/// Each sort of packet is one term of the law, and passes.
#[track_caller]
pub(super) fn each_sort_is_one_term(direction: Direction, other: Direction) -> Result<()> {
    let Some(programs) = classifier(direction)? else {
        return Ok(());
    };
    let run = |frame: &[u8]| Offload::default().run(&programs, name(direction), frame);
    run(&udp((1000, 7), 100))?;
    run(&tagged(&udp((1000, 7), 100), &[(0x88a8, 5), (0x8100, 6)]))?;
    run(&arp())?;
    run(&udp((1000, 7), 0)[..40])?;
    let totals = programs.balanced(1, direction)?;
    assert_eq!((totals.runs, totals.non_ip), (4, 1));
    assert_eq!(totals.unparsed, [1, 0, 0, 0, 0, 0]);
    assert_eq!(totals.bytes, 142 + 150 + 42 + 40);
    assert_eq!((totals.dropped, totals.suppressed), (0, [0; 6]));
    let flows = programs.flows(1)?;
    assert_eq!(flows.len(), 2);
    assert!(flows.iter().any(|(key, _)| key.vlan == [5, 6]));
    let place = (direction as u8, LOOPBACK);
    assert!(
        flows
            .iter()
            .all(|(key, _)| (key.direction, key.ifindex) == place)
    );
    assert_eq!(programs.totals(1, 1, other)?.runs, 0);
    Ok(())
}

/// A TCP segment with so many bytes of payload behind its 54 bytes of headers.
pub(super) fn segment(payload: usize) -> Vec<u8> {
    let mut frame = tcp(tcp_flag::ACK);
    frame.resize(54 + payload, 0x33);
    let length = (frame.len() as u16 - 14).to_be_bytes();
    frame[16..18].copy_from_slice(&length);
    frame
}
