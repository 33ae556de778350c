//! The ingress classifier of passive mode. `BPF_PROG_TEST_RUN` sets neither VLAN metadata nor
//! packets that are not linear: those are for tests with devices.

use anyhow::Result;
use sensor_ebpf::abi::Direction;

use super::offload::{Offload, classifier, each_sort_is_one_term, name, segment};
use super::programs::Programs;

fn receive(programs: &Programs, frame: &[u8], offload: Offload) -> Result<()> {
    offload.run(programs, name(Direction::Ingress), frame)
}

#[test]
fn each_sort_of_packet_is_one_term_of_the_law() -> Result<()> {
    each_sort_is_one_term(Direction::Ingress, Direction::Egress)
}

/// What came by the wire are the segments, with their headers; `wire_len` is no help at ingress.
#[test]
fn a_merged_frame_counts_as_its_segments() -> Result<()> {
    let Some(mut programs) = classifier(Direction::Ingress)? else {
        return Ok(());
    };
    // The last of four segments has but 500 bytes.
    let frame = segment(3500);
    let told = Offload {
        wire_len: 0,
        segments: 4,
        segment_size: 1000,
    };
    // A virtio device does not tell how many there were.
    let untold = Offload {
        segments: 0,
        ..told
    };
    let on_wire = 4 * 54 + 3500;
    for (round, offload) in (1..).zip([told, untold]) {
        receive(&programs, &frame, offload)?;
        let totals = programs.balanced(1, Direction::Ingress)?;
        assert_eq!((totals.runs, totals.bytes), (4 * round, on_wire * round));
    }
    let records = programs.records()?;
    let numbers: Vec<_> = records
        .iter()
        .map(|record| (record.header.number, record.header.segments))
        .collect();
    assert_eq!(numbers, [(1, 4), (5, 4)]);
    let header = records[0].header;
    assert_eq!(u64::from(header.wire_len), on_wire);
    assert_eq!(header.captured_len, 2048);
    Ok(())
}
