//! What the guard leaves alone.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use anyhow::Result;
use sensor_ebpf::abi::{Direction, DropReason, GuardMode, GuardSettings, Method, mode};

use super::bed::{Guarded, SETTINGS, XDP_DROP, XDP_PASS, inside, syn};
use crate::kernel::frames::{tcp, tcp_flag};

const TO: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 443);

#[test]
fn monitoring_drops_nothing_and_counts_what_it_would_have_done() -> Result<()> {
    inside(&[], || {
        let mut guarded = Guarded::new(TO, Method::Retransmission)?;
        guarded.mode(GuardMode::Monitor, 0)?;
        for _ in 0..3 {
            assert_eq!(guarded.programs.receive(&syn(TO, 1, &[]))?, XDP_PASS);
        }
        let totals = guarded.programs.balanced(1, Direction::Ingress)?;
        assert_eq!(
            (totals.dropped, totals.suppressed[0], totals.syn),
            (0, 3, 3)
        );
        assert_eq!(totals.would_drop[DropReason::FirstSyn as usize], 1);
        let counters = guarded.counters()?;
        assert_eq!((counters.would_take, counters.passed), (1, 3));
        assert!(guarded.programs.flows(1)?.is_empty());
        Ok(())
    })
}

#[test]
fn a_mirror_port_answers_nothing() -> Result<()> {
    inside(&[("ipv4/tcp_syncookies", "2")], || {
        let _listener = TcpListener::bind("0.0.0.0:443")?;
        let mut guarded = Guarded::new(TO, Method::Cookie)?;
        guarded.mode(GuardMode::Mitigate, mode::TAP)?;
        assert_eq!(guarded.programs.receive(&syn(TO, 1, &[]))?, XDP_DROP);
        let totals = guarded.programs.balanced(1, Direction::Ingress)?;
        assert_eq!((totals.transmitted, totals.syncookies), (0, 0));
        assert_eq!(totals.dropped_by[DropReason::Tap as usize], 1);
        assert_eq!(totals.would_transmit, 1);
        Ok(())
    })
}

#[test]
fn the_kill_switch_lets_everything_pass() -> Result<()> {
    inside(&[], || {
        let mut guarded = Guarded::new(TO, Method::Retransmission)?;
        guarded.mode(GuardMode::Mitigate, mode::PASS_ALL)?;
        assert_eq!(guarded.programs.receive(&syn(TO, 1, &[]))?, XDP_PASS);
        assert_eq!(guarded.counters()?.syn, 0);
        assert_eq!(guarded.programs.flows(1)?.len(), 1);
        Ok(())
    })
}

#[test]
fn a_destination_that_is_only_watched_keeps_its_flows() -> Result<()> {
    inside(&[], || {
        let guarded = Guarded::new(TO, Method::Watch)?;
        guarded.programs.receive_often(&syn(TO, 1, &[]), 5)?;
        let counters = guarded.counters()?;
        assert_eq!((counters.syn, counters.passed), (5, 5));
        let flows = guarded.programs.flows(1)?;
        assert_eq!((flows.len(), flows[0].1.syn), (1, 5));
        let totals = guarded.programs.balanced(1, Direction::Ingress)?;
        assert_eq!((totals.suppressed[0], totals.syn), (0, 5));
        Ok(())
    })
}

#[test]
fn only_bare_syns_are_judged() -> Result<()> {
    use tcp_flag::{ACK, FIN, RST, SYN};
    inside(&[], || {
        let guarded = Guarded::new(TO, Method::Retransmission)?;
        for flags in [SYN | ACK, ACK, SYN | RST, SYN | FIN, RST, FIN | ACK] {
            assert_eq!(guarded.programs.receive(&tcp(flags))?, XDP_PASS, "{flags}");
        }
        assert_eq!(guarded.counters()?.syn, 0);
        assert_eq!(guarded.programs.receive(&tcp(SYN))?, XDP_DROP);
        // Urgent, push and ECN bits do not make it another thing.
        assert_eq!(guarded.programs.receive(&tcp(SYN | 0xe8))?, XDP_PASS);
        Ok(())
    })
}

#[test]
fn others_are_not_judged_and_become_suspects_when_they_get_many() -> Result<()> {
    inside(&[], || {
        let mut guarded = Guarded::new(TO, Method::Retransmission)?;
        guarded.configure(&GuardSettings {
            suspect_per_window: 50,
            ..SETTINGS
        })?;
        let other = (IpAddr::from([10, 0, 0, 3]), 443);
        let few = (IpAddr::from([10, 0, 0, 4]), 443);
        guarded.programs.receive_often(&syn(few, 1, &[]), 49)?;
        // A run of so many takes several windows on no machine.
        guarded
            .programs
            .receive_often(&syn(other, 1, &[]), 10_000)?;
        assert_eq!(guarded.suspects()?, [super::bed::key(other)]);
        assert_eq!(guarded.programs.flows(1)?.len(), 2);
        guarded.mode(GuardMode::Off, 0)?;
        assert_eq!(guarded.programs.receive(&syn(TO, 1, &[]))?, XDP_PASS);
        Ok(())
    })
}
