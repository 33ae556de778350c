use anyhow::Result;
use sensor_ebpf::abi::{Direction, Settings, map, mode, program};

use super::frames::{arp, udp};
use super::programs::{Setup, loaded};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

#[test]
fn a_packet_passes_and_is_counted_with_and_without_multi_buffer_support() -> Result<()> {
    for programs in [&[program::XDP], &[program::XDP_LINEAR]] {
        let name = programs[0];
        let Some(programs) = loaded(Setup::of(programs))? else {
            return Ok(());
        };
        assert_eq!(
            programs.receive_by(name, &udp((1000, 7), 100), 2)?,
            XDP_PASS
        );
        let flows = programs.flows(1)?;
        assert_eq!(flows.len(), 1);
        assert_eq!((flows[0].1.packets, flows[0].1.bytes), (2, 284));
        let totals = programs.balanced(1, Direction::Ingress)?;
        assert_eq!((totals.runs, totals.bytes, totals.passed()), (2, 284, 2));
    }
    Ok(())
}

#[test]
fn a_tap_drops_what_it_has_counted() -> Result<()> {
    let Some(mut programs) = loaded(Setup::default())? else {
        return Ok(());
    };
    programs.set(Settings {
        mode: mode::TAP,
        ..Settings::default()
    })?;
    assert_eq!(programs.receive(&udp((1000, 7), 100))?, XDP_DROP);
    assert_eq!(programs.receive(&arp())?, XDP_DROP);
    let totals = programs.balanced(1, Direction::Ingress)?;
    assert_eq!((totals.runs, totals.dropped), (2, 2));
    assert_eq!((totals.dropped_bytes, totals.passed()), (142 + 42, 0));
    Ok(())
}

/// A frame's length counts, not what lies in its first buffer.
#[test]
fn a_frame_of_several_buffers_counts_with_all_its_bytes() -> Result<()> {
    let Some(programs) = loaded(Setup::default())? else {
        return Ok(());
    };
    assert_eq!(programs.receive(&udp((1000, 7), 8_958))?, XDP_PASS);
    let totals = programs.balanced(1, Direction::Ingress)?;
    assert_eq!((totals.runs, totals.bytes), (1, 9000));
    Ok(())
}

#[test]
fn a_device_without_slot_is_counted_apart_and_makes_no_flow() -> Result<()> {
    let Some(programs) = loaded(Setup {
        device: false,
        ..Setup::default()
    })?
    else {
        return Ok(());
    };
    assert_eq!(programs.receive(&udp((1000, 7), 100))?, XDP_PASS);
    assert_eq!(programs.flows(1)?.len(), 0, "{}", map::DEVICES);
    let totals = programs.totals(1, 0, Direction::Ingress)?;
    assert_eq!((totals.runs, totals.unparsed), (1, [0, 0, 0, 0, 0, 1]));
    assert_eq!(totals.unparsed_bytes[5], 142);
    assert_eq!(programs.totals(1, 1, Direction::Ingress)?.runs, 0);
    Ok(())
}
