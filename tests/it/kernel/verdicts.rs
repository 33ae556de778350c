use anyhow::Result;
use etherparse::PacketBuilder;
use sensor_ebpf::abi::{Direction, Settings, mode};

use super::programs::loaded;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

fn udp(port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(port, 7)
        .write(&mut frame, &[0; 100])
        .expect("writing to memory");
    frame
}

#[test]
fn a_packet_passes_and_is_counted() -> Result<()> {
    let Some(programs) = loaded()? else {
        return Ok(());
    };
    assert_eq!(programs.receive(&udp(1000))?, XDP_PASS);
    assert_eq!(programs.receive(&udp(1000))?, XDP_PASS);
    let flows = programs.flows(1)?;
    assert_eq!(flows.len(), 1);
    assert_eq!((flows[0].1.packets, flows[0].1.bytes), (2, 284));
    let totals = programs.totals(1, 1, Direction::Ingress)?;
    assert_eq!((totals.runs, totals.bytes), (2, 284));
    Ok(())
}

#[test]
fn a_tap_drops_what_it_has_counted() -> Result<()> {
    let Some(mut programs) = loaded()? else {
        return Ok(());
    };
    programs.set(Settings {
        mode: mode::TAP,
        ..Settings::default()
    })?;
    assert_eq!(programs.receive(&udp(1000))?, XDP_DROP);
    let totals = programs.totals(1, 1, Direction::Ingress)?;
    assert_eq!(
        (totals.runs, totals.dropped, totals.dropped_bytes),
        (1, 1, 142)
    );
    Ok(())
}
