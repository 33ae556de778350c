//! Segments whose flow is not known: returning cookies, completed handshakes, strays.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use anyhow::{Context as _, Result};
use etherparse::{PacketHeaders, TransportHeader};
use sensor::bpf::{SelfTest, SelfTestError};
use sensor_ebpf::abi::{Direction, DropReason, GuardMode, GuardSettings, Method, entry_flags};

use super::bed::{Guarded, SETTINGS, XDP_DROP, XDP_PASS, XDP_TX, ack, inside, linux_options, syn};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));

fn listen(family: IpAddr) -> Result<(TcpListener, (IpAddr, u16))> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, (family, port)))
}

fn sequence(answer: &[u8]) -> Result<u32> {
    match PacketHeaders::from_ethernet_slice(answer)?.transport {
        Some(TransportHeader::Tcp(tcp)) => Ok(tcp.sequence_number),
        other => anyhow::bail!("no TCP: {other:?}"),
    }
}

/// At most one such segment in each window of 134 ms, and hence all but a few of many at once.
const STRICT: GuardSettings = GuardSettings {
    out_of_state_per_second: 1,
    ..SETTINGS
};

#[test]
fn a_cookie_that_comes_back_opens_a_marked_flow() -> Result<()> {
    for family in [V4, V6] {
        inside(&[("ipv4/tcp_syncookies", "2")], || {
            let (_listener, to) = listen(family)?;
            let mut guarded = Guarded::new(to, Method::Cookie)?;
            guarded.configure(&STRICT)?;
            let (verdict, answer) = guarded.programs.exchange(&syn(to, 1, &linux_options()))?;
            assert_eq!(verdict, XDP_TX);
            let right = ack(to, 1, sequence(&answer)?);
            assert_eq!(guarded.programs.receive_often(&right, 3)?, XDP_PASS);
            let counters = guarded.counters()?;
            assert_eq!((counters.cookie_admitted, counters.completed), (1, 1));
            assert_eq!(counters.out_of_state, 0);
            let flows = guarded.programs.flows(1)?;
            assert_eq!(flows.len(), 1);
            assert_eq!((flows[0].1.packets, flows[0].1.syn), (3, 0));
            assert_ne!(flows[0].1.tcp_flags & entry_flags::BY_COOKIE, 0);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn segments_of_no_connection_are_limited() -> Result<()> {
    const MANY: u32 = 100;
    for (family, listens) in [(V4, true), (V6, true), (V4, false)] {
        inside(&[("ipv4/tcp_syncookies", "2")], || {
            let (listener, to) = listen(family)?;
            let listener = listens.then_some(listener);
            let mut guarded = Guarded::new(to, Method::Cookie)?;
            guarded.configure(&STRICT)?;
            // The queue of this listener overflows, or no ACK is looked at.
            guarded.programs.exchange(&syn(to, 1, &linux_options()))?;
            for number in 0..MANY {
                guarded.programs.receive(&ack(to, number as u16, 77))?;
            }
            let counters = guarded.counters()?;
            assert!(counters.out_of_state > 0, "{counters:?}");
            assert_eq!((counters.cookie_admitted, counters.completed), (0, 0));
            let totals = guarded.programs.balanced(1, Direction::Ingress)?;
            assert_eq!(
                totals.dropped_by[DropReason::OutOfState as usize],
                counters.out_of_state
            );
            let flows = guarded.programs.flows(1)?.len() as u64;
            assert_eq!(flows + counters.out_of_state, u64::from(MANY));
            // Monitoring drops none of them.
            guarded.mode(GuardMode::Monitor, 0)?;
            for number in 0..MANY {
                let frame = ack(to, 1_000 + number as u16, 77);
                assert_eq!(guarded.programs.receive(&frame)?, XDP_PASS);
            }
            drop(listener);
            Ok(())
        })?;
    }
    Ok(())
}

/// What was there before the attack goes on.
#[test]
fn flows_that_are_known_are_no_strays() -> Result<()> {
    inside(&[], || {
        let to = (V4, 80);
        let mut guarded = Guarded::new(to, Method::Watch)?;
        guarded.configure(&STRICT)?;
        let frame = ack(to, 1, 77);
        guarded.programs.receive_often(&frame, 2)?;
        guarded.put(sensor_ebpf::abi::Destination {
            method: Method::Retransmission as u32,
            ..Default::default()
        })?;
        assert_eq!(guarded.programs.receive_often(&frame, 1_000)?, XDP_PASS);
        assert_eq!(guarded.counters()?.out_of_state, 0);
        Ok(())
    })
}

#[test]
fn an_admitted_client_may_go_on() -> Result<()> {
    inside(&[], || {
        let to = (V4, 80);
        let mut guarded = Guarded::new(to, Method::Retransmission)?;
        guarded.configure(&STRICT)?;
        let first = syn(to, 1, &[]);
        assert_eq!(guarded.programs.receive(&first)?, XDP_DROP);
        assert_eq!(guarded.programs.receive(&first)?, XDP_PASS);
        let mut spent = false;
        for number in 2..100 {
            spent |= guarded.programs.receive(&ack(to, number, 77))? == XDP_DROP;
        }
        assert!(spent);
        assert_eq!(guarded.programs.receive(&ack(to, 1, 77))?, XDP_PASS);
        assert_eq!(guarded.counters()?.completed, 1);
        Ok(())
    })
}

#[test]
fn a_handshake_that_is_watched_is_counted_once() -> Result<()> {
    inside(&[], || {
        let to = (V4, 80);
        let guarded = Guarded::new(to, Method::Watch)?;
        for number in 1..=3 {
            guarded
                .programs
                .receive_often(&syn(to, number, &[]), number.into())?;
        }
        assert_eq!(guarded.counters()?.completed, 0);
        for number in 1..=2 {
            guarded.programs.receive_often(&ack(to, number, 77), 5)?;
        }
        let counters = guarded.counters()?;
        assert_eq!((counters.syn, counters.completed), (6, 2));
        Ok(())
    })
}

#[test]
fn the_self_test_shows_that_cookies_work() -> Result<()> {
    for cookies in ["1", "2"] {
        inside(&[("ipv4/tcp_syncookies", cookies)], || {
            let shown = SelfTest::run().context("self-test")?;
            assert!(shown.ipv4.is_ok() && shown.ipv6.is_ok(), "{shown:?}");
            Ok(())
        })?;
    }
    inside(&[("ipv4/tcp_syncookies", "0")], || {
        let refused = SelfTest::run();
        assert!(matches!(refused, Err(SelfTestError::Disabled)));
        Ok(())
    })
}

#[test]
fn the_self_test_tells_of_a_family_that_it_cannot_try() -> Result<()> {
    let without = [
        ("ipv4/tcp_syncookies", "1"),
        ("ipv6/conf/lo/disable_ipv6", "1"),
    ];
    inside(&without, || {
        let shown = SelfTest::run().context("self-test")?;
        assert!(shown.ipv4.is_ok(), "{shown:?}");
        let why = shown.ipv6.expect_err("nobody can listen on ::1");
        assert!(why.to_string().contains("::1"), "{why}");
        Ok(())
    })
}
