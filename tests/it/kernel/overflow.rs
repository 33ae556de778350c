//! A flow table that is full.

use anyhow::{Context as _, Result};
use sensor_ebpf::abi::{Direction, ProtocolClass};

use super::frames::{tcp, tcp_flag, udp};
use super::programs::{Programs, Setup, loaded};

const ROOM: u32 = 8;

/// Receives a packet of each of so many flows.
fn receive_flows(programs: &Programs, ports: std::ops::Range<u16>) -> Result<()> {
    for port in ports {
        programs.receive(&udp((port, 7), 0))?;
    }
    Ok(())
}

fn full() -> Result<Option<Programs>> {
    loaded(Setup {
        flows: ROOM,
        ..Setup::default()
    })
}

#[test]
fn what_finds_no_room_is_counted_by_protocol() -> Result<()> {
    let Some(programs) = full()? else {
        return Ok(());
    };
    receive_flows(&programs, 1000..1100)?;
    programs.receive_often(&tcp(tcp_flag::SYN), 5)?;
    // A flow that has an entry is counted there as before.
    receive_flows(&programs, 1000..1008)?;
    let totals = programs.balanced(1, Direction::Ingress)?;
    assert_eq!(totals.runs, 100 + 5 + 8);
    assert_eq!(totals.overflow[ProtocolClass::Udp as usize], 92);
    assert_eq!(totals.overflow_bytes[ProtocolClass::Udp as usize], 92 * 42);
    assert_eq!(totals.overflow[ProtocolClass::Tcp as usize], 5);
    assert_eq!(totals.syn, 5);
    let flows = programs.flows(1)?;
    assert_eq!(flows.len(), ROOM as usize);
    assert!(flows.iter().all(|(_, entry)| entry.packets == 2));
    Ok(())
}

/// A failing insert is dear, so that a CPU tries it once in a generation.
#[test]
fn a_full_table_is_not_tried_again_before_the_next_generation() -> Result<()> {
    let Some(mut programs) = full()? else {
        return Ok(());
    };
    receive_flows(&programs, 1000..1009)?;
    let (key, _) = *programs.flows(1)?.first().context("a flow")?;
    programs.remove_flow(1, &key)?;
    receive_flows(&programs, 2000..2001)?;
    let totals = programs.totals(1, 1, Direction::Ingress)?;
    assert_eq!(totals.overflow[ProtocolClass::Udp as usize], 2);
    assert_eq!(programs.flows(1)?.len(), ROOM as usize - 1);

    programs.open_generation(2)?;
    receive_flows(&programs, 2000..2004)?;
    let totals = programs.balanced(2, Direction::Ingress)?;
    assert_eq!((totals.runs, totals.overflow), (4, [0; 6]));
    // The table of generation 1 has room still, and is tried anew in generation 3.
    programs.open_generation(3)?;
    receive_flows(&programs, 2000..2001)?;
    assert_eq!(programs.flows(3)?.len(), ROOM as usize);
    Ok(())
}
