//! The ingress classifier of passive mode. `BPF_PROG_TEST_RUN` sets neither VLAN metadata nor
//! packets that are not linear: those are for tests with devices.

use anyhow::Result;
use sensor_ebpf::abi::{Direction, Settings, mode, program};

use super::frames::{arp, tagged, udp};
use super::offload::{Offload, segment};
use super::programs::{Programs, Setup, loaded};

fn receive(programs: &Programs, frame: &[u8], offload: Offload) -> Result<()> {
    offload.run(programs, program::INGRESS, frame)
}

fn ready() -> Result<Option<Programs>> {
    let mut programs = loaded(Setup::of(&[program::INGRESS]))?;
    if let Some(programs) = &mut programs {
        programs.set(Settings {
            mode: mode::SAMPLE_FULL,
            budget: [1000; 5],
            // Lists are in force, of which nothing here is to ask.
            lists_generation: 1,
            ..Settings::default()
        })?;
    }
    Ok(programs)
}

#[test]
fn each_sort_of_packet_is_one_term_of_the_law() -> Result<()> {
    let Some(programs) = ready()? else {
        return Ok(());
    };
    let plain = Offload::default();
    receive(&programs, &udp((1000, 7), 100), plain)?;
    receive(
        &programs,
        &tagged(&udp((1000, 7), 100), &[(0x8100, 6)]),
        plain,
    )?;
    receive(&programs, &arp(), plain)?;
    receive(&programs, &udp((1000, 7), 0)[..40], plain)?;
    let totals = programs.balanced(1, Direction::Ingress)?;
    assert_eq!((totals.runs, totals.non_ip), (4, 1));
    assert_eq!(totals.unparsed, [1, 0, 0, 0, 0, 0]);
    assert_eq!(totals.bytes, 142 + 146 + 42 + 40);
    assert_eq!((totals.dropped, totals.suppressed), (0, [0; 6]));
    let flows = programs.flows(1)?;
    assert_eq!(flows.len(), 2);
    let ingress = Direction::Ingress as u8;
    assert!(flows.iter().all(|(key, _)| key.direction == ingress));
    assert_eq!(programs.totals(1, 1, Direction::Egress)?.runs, 0);
    Ok(())
}

/// What came by the wire are the segments, with their headers; `wire_len` is no help at ingress.
#[test]
fn a_merged_frame_counts_as_its_segments() -> Result<()> {
    let Some(mut programs) = ready()? else {
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
