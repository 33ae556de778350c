use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use sensor_ebpf::abi::{Direction, DropReason, GuardSettings, Method};
use sensor_ebpf::parse::{self, Origin};

use super::bed::{Guarded, SETTINGS, XDP_DROP, XDP_PASS, inside, linux_options, syn};
use crate::kernel::frames::tagged;

const V4: (IpAddr, u16) = (IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)), 80);
const V6: (IpAddr, u16) = (
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)),
    80,
);

#[test]
fn the_first_syn_is_dropped_and_its_retransmission_passes() -> Result<()> {
    for to in [V4, V6] {
        inside(&[], || {
            let guarded = Guarded::new(to, Method::Retransmission)?;
            let frame = syn(to, 1, &linux_options());
            assert_eq!(guarded.programs.receive(&frame)?, XDP_DROP);
            assert_eq!(guarded.programs.receive(&frame)?, XDP_PASS);
            let counters = guarded.counters()?;
            assert_eq!(
                (counters.syn, counters.first_dropped, counters.passed),
                (2, 1, 1)
            );
            assert_eq!(counters.syn_bytes, 2 * frame.len() as u64);
            assert_eq!(counters.retransmission_admitted, 1);
            let totals = guarded.programs.balanced(1, Direction::Ingress)?;
            assert_eq!(
                (totals.syn, totals.suppressed[0], totals.dropped),
                (2, 2, 1)
            );
            assert_eq!(totals.dropped_by[DropReason::FirstSyn as usize], 1);
            assert!(guarded.programs.flows(1)?.is_empty());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn tags_make_no_difference() -> Result<()> {
    inside(&[], || {
        let guarded = Guarded::new(V4, Method::Retransmission)?;
        let frame = tagged(
            &syn(V4, 1, &linux_options()),
            &[(0x88a8, 7), (0x8100, 0x2005)],
        );
        assert_eq!(guarded.programs.receive(&frame)?, XDP_DROP);
        assert_eq!(guarded.programs.receive(&frame)?, XDP_PASS);
        Ok(())
    })
}

#[test]
fn a_client_that_was_admitted_is_known() -> Result<()> {
    inside(&[], || {
        let guarded = Guarded::new(V4, Method::Retransmission)?;
        let frame = syn(V4, 1, &[]);
        guarded.programs.receive_often(&frame, 2)?;
        let mut next = frame.clone();
        next[14 + 20] ^= 0x10;
        next[14 + 20 + 7] ^= 0xff;
        assert_eq!(guarded.programs.receive(&next)?, XDP_PASS);
        assert_eq!(guarded.counters()?.known_admitted, 1);
        assert_eq!(guarded.programs.receive(&syn(V4, 2, &[]))?, XDP_DROP);
        Ok(())
    })
}

/// Another sequence number is another connection, whatever its ports.
#[test]
fn a_syn_that_repeats_no_sequence_number_is_no_retransmission() -> Result<()> {
    inside(&[], || {
        let guarded = Guarded::new(V4, Method::Retransmission)?;
        let mut frame = syn(V4, 1, &[]);
        for sequence in 0..100 {
            frame[14 + 20 + 7] = sequence;
            assert_eq!(guarded.programs.receive(&frame)?, XDP_DROP);
        }
        assert_eq!(guarded.counters()?.first_dropped, 100);
        Ok(())
    })
}

#[test]
fn a_retransmission_can_come_too_early_or_too_late() -> Result<()> {
    inside(&[], || {
        let mut guarded = Guarded::new(V4, Method::Retransmission)?;
        let frame = syn(V4, 1, &[]);
        guarded.configure(&GuardSettings {
            retransmission_min_ms: 100_000,
            ..SETTINGS
        })?;
        guarded.programs.receive_often(&frame, 3)?;
        assert_eq!(guarded.counters()?.first_dropped, 3);
        guarded.configure(&GuardSettings {
            retransmission_max_ms: 0,
            ..SETTINGS
        })?;
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(guarded.programs.receive(&frame)?, XDP_DROP);
        Ok(())
    })
}

/// Nobody judges any more: what was decided must not last for ever.
#[test]
fn without_a_sign_of_life_syns_pass() -> Result<()> {
    inside(&[], || {
        let mut guarded = Guarded::new(V4, Method::Retransmission)?;
        guarded.configure(&GuardSettings {
            hold_seconds: 1,
            ..SETTINGS
        })?;
        let frame = syn(V4, 1, &[]);
        // An hour ahead: however slow this machine is, the sign of life is not too old.
        let far = sensor::source::live::monotonic_ns() + 3_600_000_000_000;
        guarded.beat(far)?;
        assert_eq!(guarded.programs.receive(&frame)?, XDP_DROP);
        guarded.beat(0)?;
        assert_eq!(guarded.programs.receive(&syn(V4, 2, &[]))?, XDP_PASS);
        let counters = guarded.counters()?;
        assert_eq!((counters.lapsed, counters.passed), (1, 1));
        Ok(())
    })
}

/// A SYN with a later fragment's header is none, and one behind extension headers is one.
#[test]
fn syns_are_told_by_the_parser() -> Result<()> {
    inside(&[], || {
        let guarded = Guarded::new(V6, Method::Retransmission)?;
        let plain = syn(V6, 1, &[]);
        let mut frame = plain[..54].to_vec();
        frame[14 + 6] = 0;
        frame[14 + 5] += 8;
        frame.extend([6, 0, 1, 4, 0, 0, 0, 0]);
        frame.extend(&plain[54..]);
        assert!(parse::ethernet(&frame, Origin::CAPTURE).is_ok());
        assert_eq!(guarded.programs.receive(&frame)?, XDP_DROP);
        assert_eq!(guarded.programs.receive(&frame)?, XDP_PASS);
        Ok(())
    })
}
