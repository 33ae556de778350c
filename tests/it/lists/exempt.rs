//! What no list stops: neighbour discovery, ARP, what was not parsed, and everything while the
//! kill switch is on.

use std::net::IpAddr;

use anyhow::Result;
use etherparse::{Icmpv6Type, PacketBuilder};
use sensor::lists::List;
use sensor_tests::root_or_skip;

use super::bed::{Bed, packet};

fn icmpv6(source: IpAddr, kind: u8) -> Vec<u8> {
    let IpAddr::V6(source) = source else {
        unreachable!("the tests name IPv6 addresses");
    };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(source.octets(), [0xff; 16], 255)
        .icmpv6(Icmpv6Type::Unknown {
            type_u8: kind,
            code_u8: 0,
            bytes5to8: [0; 4],
        })
        .write(&mut frame, &[0; 16])
        .expect("a frame fits into memory");
    frame
}

#[test]
fn neighbours_are_found_whatever_is_blocked() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    Bed::run(|bed| {
        for target in ["0.0.0.0/0", "::/0", "fe80::1"] {
            bed.list(List::Block, target, None)?;
        }
        for source in ["fe80::1", "2001:db8::1"] {
            let source = source.parse()?;
            for kind in 133..=137 {
                assert!(bed.passes(&icmpv6(source, kind))?, "{source} type {kind}");
            }
            assert!(!bed.passes(&icmpv6(source, 128))?, "{source} echo");
        }
        let mut arp = vec![0xff; 12];
        arp.extend([0x08, 0x06]);
        arp.extend([0; 46]);
        assert!(bed.passes(&arp)?);
        let mut cut = packet("192.0.2.1".parse()?, true, 80);
        cut.truncate(30);
        assert!(bed.passes(&cut)?);
        assert!(!bed.passes(&packet("192.0.2.1".parse()?, true, 80))?);
        bed.received().map(drop)
    })
}

#[test]
fn the_kill_switch_lets_everything_pass_and_counting_goes_on() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    Bed::run(|bed| {
        bed.list(List::Block, "0.0.0.0/0", None)?;
        bed.list(List::Block, "192.0.2.1", None)?;
        let frame = packet("192.0.2.1".parse()?, true, 80);
        assert!(!bed.passes(&frame)?);
        bed.plane.set_pass_all(true)?;
        // New settings of the sampling leave it as it is.
        bed.plane.apply(&sensor_ebpf::abi::Settings::default())?;
        assert!(bed.passes(&frame)? && bed.passes(&frame)?);
        bed.plane.set_pass_all(false)?;
        assert!(!bed.passes(&frame)?);
        let device = bed.received()?;
        assert_eq!((device.totals.runs, device.totals.dropped), (4, 2));
        assert_eq!(device.flows.entries, 1);
        Ok(())
    })
}
