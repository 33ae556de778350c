//! The egress classifier. `BPF_PROG_TEST_RUN` sets neither VLAN metadata nor packets that are
//! not linear: those are for tests with devices.

use anyhow::Result;
use sensor_ebpf::abi::{Direction, SampleClass, Settings, mode, program};

use super::frames::{arp, tagged, udp};
use super::offload::{Offload, segment};
use super::programs::{LOOPBACK, Programs, Setup, loaded};

fn send(programs: &Programs, frame: &[u8], offload: Offload) -> Result<()> {
    offload.run(programs, program::EGRESS, frame)
}

fn ready() -> Result<Option<Programs>> {
    let mut programs = loaded(Setup::of(&[program::EGRESS]))?;
    if let Some(programs) = &mut programs {
        programs.set(Settings {
            mode: mode::SAMPLE_FULL,
            budget: [1000; 5],
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
    let tags = [(0x88a8, 5), (0x8100, 6)];
    send(&programs, &udp((1000, 7), 100), plain)?;
    send(&programs, &tagged(&udp((1000, 7), 100), &tags), plain)?;
    send(&programs, &arp(), plain)?;
    send(&programs, &udp((1000, 7), 0)[..40], plain)?;
    let totals = programs.balanced(1, Direction::Egress)?;
    assert_eq!((totals.runs, totals.non_ip), (4, 1));
    assert_eq!(totals.unparsed, [1, 0, 0, 0, 0, 0]);
    assert_eq!(totals.bytes, 142 + 150 + 42 + 40);
    let flows = programs.flows(1)?;
    assert_eq!(flows.len(), 2);
    assert!(flows.iter().any(|(key, _)| key.vlan == [5, 6]));
    let egress = Direction::Egress as u8;
    assert!(
        flows
            .iter()
            .all(|(key, _)| (key.direction, key.ifindex) == (egress, LOOPBACK))
    );
    assert_eq!(programs.totals(1, 1, Direction::Ingress)?.runs, 0);
    Ok(())
}

/// What leaves the machine are the segments, with their headers.
#[test]
fn a_gso_frame_counts_as_its_segments() -> Result<()> {
    let Some(mut programs) = ready()? else {
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
