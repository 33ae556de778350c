//! A flow table that is full.

use anyhow::Result;
use sensor_ebpf::abi::{Direction, FlowEntry, FlowKey, ProtocolClass, TableSize};

use super::frames::{tcp, tcp_flag, udp};
use super::programs::{Programs, Setup, loaded};

const FLOWS: u32 = 8;

/// Flows of a full table.
const ROOM: usize = TableSize::of(FLOWS).room() as usize;

/// Enough to fill every set and the spill table.
const MANY: std::ops::Range<u16> = 1000..1000 + 5 * ROOM as u16;

/// Receives a packet of each of so many flows.
fn receive_flows(programs: &Programs, ports: std::ops::Range<u16>) -> Result<()> {
    for port in ports {
        programs.receive(&udp((port, 7), 0))?;
    }
    Ok(())
}

fn full() -> Result<Option<Programs>> {
    loaded(Setup {
        flows: FLOWS,
        ..Setup::default()
    })
}

#[test]
fn what_finds_no_room_is_counted_by_protocol() -> Result<()> {
    let Some(programs) = full()? else {
        return Ok(());
    };
    receive_flows(&programs, MANY)?;
    programs.receive_often(&tcp(tcp_flag::SYN), 5)?;
    let lost = (MANY.len() - ROOM) as u64;
    let totals = programs.balanced(1, Direction::Ingress)?;
    assert_eq!(totals.runs, MANY.len() as u64 + 5);
    assert_eq!(totals.overflow[ProtocolClass::Udp as usize], lost);
    let bytes = totals.overflow_bytes[ProtocolClass::Udp as usize];
    assert_eq!(bytes, lost * 42);
    assert_eq!(totals.overflow[ProtocolClass::Tcp as usize], 5);
    assert_eq!(totals.syn, 5);
    // A flow that has an entry is counted there as before, in a set or spilled.
    receive_flows(&programs, MANY)?;
    let flows = programs.flows(1)?;
    assert_eq!(flows.len(), ROOM);
    assert!(flows.iter().all(|(_, entry)| entry.packets == 2));
    programs.balanced(1, Direction::Ingress)?;
    Ok(())
}

/// A failing insert is dear, so that a CPU tries it once in a generation.
#[test]
fn a_full_table_is_not_tried_again_before_the_next_generation() -> Result<()> {
    let Some(mut programs) = full()? else {
        return Ok(());
    };
    receive_flows(&programs, MANY)?;
    let lost = (MANY.len() - ROOM) as u64;
    programs.remove_spilled(1)?;
    receive_flows(&programs, 9000..9001)?;
    let totals = programs.totals(1, 1, Direction::Ingress)?;
    assert_eq!(totals.overflow[ProtocolClass::Udp as usize], lost + 1);
    assert_eq!(programs.flows(1)?.len(), ROOM - 1);

    programs.open_generation(2)?;
    receive_flows(&programs, 9000..9004)?;
    let totals = programs.balanced(2, Direction::Ingress)?;
    assert_eq!((totals.runs, totals.overflow), (4, [0; 6]));
    // The spill table of generation 1 has room still, and is tried anew in generation 3; its sets
    // are free again.
    programs.open_generation(3)?;
    receive_flows(&programs, 10_000..10_000 + MANY.len() as u16)?;
    let flows = programs.flows(3)?;
    assert_eq!(flows.len(), ROOM);
    let old = TableSize::of(FLOWS).spill as usize - 1;
    let new = |(key, _): &&(FlowKey, FlowEntry)| key.src_port >= 10_000;
    assert_eq!(flows.iter().filter(new).count(), ROOM - old);
    Ok(())
}
