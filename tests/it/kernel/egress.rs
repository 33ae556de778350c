//! The egress classifier. `BPF_PROG_TEST_RUN` sets neither VLAN metadata nor packets that are
//! not linear: those are for tests with devices.

use anyhow::Result;
use sensor_ebpf::abi::{Direction, SampleClass};

use super::offload::{Offload, classifier, each_sort_is_one_term, name, segment};
use super::programs::Programs;

fn send(programs: &Programs, frame: &[u8], offload: Offload) -> Result<()> {
    offload.run(programs, name(Direction::Egress), frame)
}

#[test]
fn each_sort_of_packet_is_one_term_of_the_law() -> Result<()> {
    each_sort_is_one_term(Direction::Egress, Direction::Ingress)
}

/// What leaves the machine are the segments, with their headers.
#[test]
fn a_gso_frame_counts_as_its_segments() -> Result<()> {
    let Some(mut programs) = classifier(Direction::Egress)? else {
        return Ok(());
    };
    // The last of four segments has but 500 bytes.
    let frame = segment(3500);
    let on_wire = frame.len() as u32 + 3 * 54;
    let told = Offload {
        wire_len: on_wire,
        segments: 4,
        segment_size: 1000,
    };
    // What a virtual machine sends, whose device does not tell how many there are.
    let untold = Offload {
        segments: 0,
        ..told
    };
    // Nor has the kernel found the headers.
    let plain = Offload {
        wire_len: 0,
        ..untold
    };
    for (round, offload) in (1..).zip([told, untold, plain]) {
        send(&programs, &frame, offload)?;
        let totals = programs.balanced(1, Direction::Egress)?;
        let expected = (4 * round, u64::from(on_wire) * round);
        assert_eq!((totals.runs, totals.bytes), expected, "{offload:?}");
    }
    let records = programs.records()?;
    let numbers: Vec<_> = records
        .iter()
        .map(|record| (record.header.number, record.header.segments))
        .collect();
    assert_eq!(numbers, [(1, 4), (5, 4), (9, 4)]);
    let header = records[0].header;
    assert_eq!(header.wire_len, on_wire);
    assert_eq!(
        (header.captured_len, header.direction),
        (2048, Direction::Egress as u8)
    );
    assert_eq!(header.class, SampleClass::Full as u8);
    assert_eq!(records[0].data, frame[..2048]);
    Ok(())
}
