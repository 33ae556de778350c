use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use anyhow::{Context as _, Result};
use etherparse::{PacketHeaders, TcpHeader, TcpOptionElement, TransportHeader};
use sensor_ebpf::abi::{
    Direction, DropReason, GuardMode, GuardSettings, Method, Totals, guard_flags,
};

use super::bed::{
    CLIENT, Guarded, SEQUENCE, SETTINGS, XDP_DROP, XDP_PASS, XDP_TX, client, inside, linux_options,
    syn,
};
use crate::kernel::frames::tagged;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
const ALWAYS: (&str, &str) = ("ipv4/tcp_syncookies", "2");

/// What loopback's MTU allows.
const MSS_V4: u16 = 65_496;
const MSS_V6: u16 = 65_476;

/// A listener for both families, and where it can be reached in `family`.
fn listen(family: IpAddr) -> Result<(TcpListener, (IpAddr, u16))> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, (family, port)))
}

/// Checks the headers of a SYN-ACK with both of its checksums, and returns its TCP header.
fn check(answer: &[u8], to: (IpAddr, u16), number: u16) -> Result<TcpHeader> {
    let headers = PacketHeaders::from_ethernet_slice(answer)?;
    assert_eq!(headers.payload.slice(), b"");
    let Some(TransportHeader::Tcp(tcp)) = headers.transport else {
        anyhow::bail!("no TCP: {headers:?}");
    };
    let net = headers.net.context("no IP header")?;
    match (client(to.0, number), to.0) {
        (IpAddr::V4(client), IpAddr::V4(server)) => {
            let (ip, _) = net.ipv4_ref().context("not IPv4")?;
            assert_eq!(ip.source, server.octets());
            assert_eq!(ip.destination, client.octets());
            assert_eq!((ip.time_to_live, ip.dont_fragment), (64, true));
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            assert_eq!(tcp.checksum, tcp.calc_checksum_ipv4(ip, &[])?);
        }
        (IpAddr::V6(client), IpAddr::V6(server)) => {
            let (ip, _) = net.ipv6_ref().context("not IPv6")?;
            assert_eq!(ip.source, server.octets());
            assert_eq!(ip.destination, client.octets());
            assert_eq!(ip.hop_limit, 64);
            assert_eq!(tcp.checksum, tcp.calc_checksum_ipv6(ip, &[])?);
        }
        _ => unreachable!("one family"),
    }
    assert_eq!((tcp.source_port, tcp.destination_port), (to.1, CLIENT));
    assert!(tcp.syn && tcp.ack && !tcp.rst && !tcp.fin);
    assert_eq!(tcp.acknowledgment_number, SEQUENCE.wrapping_add(1));
    assert_ne!(tcp.window_size, 0);
    Ok(tcp)
}

fn options(tcp: &TcpHeader) -> Result<Vec<TcpOptionElement>> {
    Ok(tcp.options_iterator().collect::<Result<_, _>>()?)
}

#[test]
fn a_syn_to_a_listener_is_answered_by_a_cookie() -> Result<()> {
    for (family, mss) in [(V4, MSS_V4), (V6, MSS_V6)] {
        inside(&[ALWAYS], || {
            let (_listener, to) = listen(family)?;
            let guarded = Guarded::new(to, Method::Cookie)?;
            let frame = syn(to, 1, &linux_options());
            let (verdict, answer) = guarded.programs.exchange(&frame)?;
            assert_eq!(verdict, XDP_TX);
            assert_eq!(answer[..6], frame[6..12]);
            assert_eq!(answer[6..12], frame[..6]);
            let tcp = check(&answer, to, 1)?;
            // Without `tcp_timestamps=2` nothing else comes back.
            assert_eq!(options(&tcp)?, [TcpOptionElement::MaximumSegmentSize(mss)]);
            let (_, again) = guarded.programs.exchange(&frame)?;
            assert_eq!(
                check(&again, to, 1)?.sequence_number >> 24,
                tcp.sequence_number >> 24,
                "a cookie does not change within a minute, but for the few bits of a count"
            );
            let counters = guarded.counters()?;
            assert_eq!((counters.syn, counters.cookies), (2, 2));
            let totals = guarded.programs.balanced(1, Direction::Ingress)?;
            let expected = Totals {
                transmitted: 2,
                transmitted_bytes: 2 * frame.len() as u64,
                syncookies: 2,
                suppressed: [2, 0, 0, 0, 0, 0],
                syn: 2,
                ..totals
            };
            assert_eq!(totals, expected);
            assert_eq!(totals.passed(), 0);
            assert!(guarded.programs.flows(1)?.is_empty());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn tags_stay() -> Result<()> {
    let tags: [&[(u16, u16)]; 2] = [&[(0x8100, 0x6005)], &[(0x88a8, 7), (0x8100, 0x2005)]];
    for family in [V4, V6] {
        for tags in tags {
            inside(&[ALWAYS], || {
                let (_listener, to) = listen(family)?;
                let guarded = Guarded::new(to, Method::Cookie)?;
                let frame = tagged(&syn(to, 1, &linux_options()), tags);
                let (verdict, answer) = guarded.programs.exchange(&frame)?;
                assert_eq!(verdict, XDP_TX);
                let end = 12 + 4 * tags.len();
                assert_eq!(answer[12..end], frame[12..end]);
                check(&answer, to, 1)?;
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Bits of `cookie_init_timestamp` in `net/ipv4/syncookies.c`.
#[test]
fn a_timestamp_carries_what_the_system_lets_it() -> Result<()> {
    const SACK: u32 = 1 << 4;
    const ECN: u32 = 1 << 5;
    let all = guard_flags::TIMESTAMPS
        | guard_flags::SACK
        | guard_flags::WINDOW_SCALING
        | guard_flags::ECN;
    inside(&[ALWAYS, ("ipv4/tcp_timestamps", "2")], || {
        let (_listener, to) = listen(V4)?;
        let mut guarded = Guarded::new(to, Method::Cookie)?;
        for (flags, offered, expected) in [
            (all, linux_options(), 9 | SACK),
            (all & !guard_flags::SACK, linux_options(), 9),
            (
                all & !guard_flags::WINDOW_SCALING,
                linux_options(),
                15 | SACK,
            ),
            (all, vec![TcpOptionElement::Timestamp(0x0102_0304, 0)], 15),
        ] {
            guarded.configure(&GuardSettings { flags, ..SETTINGS })?;
            let before = sensor::source::live::monotonic_ns() / 1_000_000;
            let (verdict, answer) = guarded.programs.exchange(&syn(to, 1, &offered))?;
            assert_eq!(verdict, XDP_TX);
            let tcp = check(&answer, to, 1)?;
            assert!(!tcp.ece);
            let stamp = options(&tcp)?
                .into_iter()
                .find_map(|option| match option {
                    TcpOptionElement::Timestamp(stamp, 0x0102_0304) => Some(stamp),
                    _ => None,
                })
                .context("no timestamp")?;
            assert_eq!(stamp & 63, expected);
            // Never in the future; the clock's tick and the six bits let it lag.
            let now = sensor::source::live::monotonic_ns() / 1_000_000;
            assert!(now as u32 >= stamp && before as u32 - 64 - 20 <= stamp);
            let found = options(&tcp)?;
            assert_eq!(
                found.contains(&TcpOptionElement::WindowScale(7)),
                expected & 15 != 15
            );
            assert_eq!(
                found.contains(&TcpOptionElement::SelectiveAcknowledgementPermitted),
                expected & SACK != 0
            );
        }
        // ECN is asked for by two flags (RFC 3168 section 6.1.1), and without timestamps nothing
        // can carry it.
        let flags_at = 14 + 20 + 13;
        guarded.configure(&GuardSettings {
            flags: all,
            ..SETTINGS
        })?;
        let mut frame = syn(to, 1, &linux_options());
        frame[flags_at] |= 0xc0;
        let (_, answer) = guarded.programs.exchange(&frame)?;
        assert!(check(&answer, to, 1)?.ece);
        let stamp = &answer[14 + 20 + 28..][..4];
        assert_eq!(u32::from_be_bytes(stamp.try_into()?) & 63, 9 | SACK | ECN);
        let mut frame = syn(to, 1, &[TcpOptionElement::MaximumSegmentSize(1460)]);
        frame[flags_at] |= 0xc0;
        let (_, answer) = guarded.programs.exchange(&frame)?;
        let tcp = check(&answer, to, 1)?;
        assert!(!tcp.ece);
        assert_eq!(options(&tcp)?.len(), 1);
        Ok(())
    })
}

/// The frame shrinks and grows: no options, all options, padding, data in the SYN.
#[test]
fn the_answer_is_as_long_as_it_has_to_be() -> Result<()> {
    for family in [V4, V6] {
        inside(&[ALWAYS], || {
            let (_listener, to) = listen(family)?;
            let guarded = Guarded::new(to, Method::Cookie)?;
            let ip_len = if family.is_ipv4() { 20 } else { 40 };
            let mut padded = syn(to, 1, &[]);
            padded.resize(padded.len() + 6, 0xaa);
            let crowded: Vec<_> = std::iter::repeat_n(TcpOptionElement::Noop, 40).collect();
            for frame in [
                syn(to, 1, &[]),
                syn(to, 1, &linux_options()),
                syn(to, 1, &crowded),
                padded,
            ] {
                let (verdict, answer) = guarded.programs.exchange(&frame)?;
                assert_eq!(verdict, XDP_TX);
                assert_eq!(answer.len(), 14 + ip_len + 24);
                check(&answer, to, 1)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn where_nobody_listens_the_next_method_serves() -> Result<()> {
    for family in [V4, V6] {
        inside(&[ALWAYS], || {
            let to = (family, 80);
            let guarded = Guarded::new(to, Method::Cookie)?;
            let frame = syn(to, 1, &linux_options());
            assert_eq!(guarded.programs.receive(&frame)?, XDP_DROP);
            assert_eq!(guarded.programs.receive(&frame)?, XDP_PASS);
            let counters = guarded.counters()?;
            assert_eq!(counters.cookie_no_listener, 2);
            assert_eq!((counters.first_dropped, counters.passed), (1, 1));
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_unusual_form_is_left_to_the_next_method() -> Result<()> {
    inside(&[ALWAYS], || {
        let (_listener, to) = listen(V4)?;
        let guarded = Guarded::new(to, Method::Cookie)?;
        let plain = syn(to, 1, &[]);
        // An IP option, and the first of several fragments.
        let mut optional = plain[..34].to_vec();
        optional[14] = 0x46;
        optional[17] += 4;
        optional.extend([1, 1, 1, 0]);
        optional.extend(&plain[34..]);
        let mut fragment = plain.clone();
        fragment[14 + 6] = 0x20;
        for frame in [optional, fragment] {
            guarded.programs.receive(&frame)?;
        }
        let counters = guarded.counters()?;
        assert_eq!((counters.cookie_ineligible, counters.cookies), (2, 0));
        Ok(())
    })
}

/// With `tcp_syncookies=1` the kernel wants no cookie while its queue has room.
#[test]
fn a_listener_with_room_gets_the_syn() -> Result<()> {
    for cookies in ["0", "1"] {
        inside(&[("ipv4/tcp_syncookies", cookies)], || {
            let (_listener, to) = listen(V4)?;
            let guarded = Guarded::new(to, Method::Cookie)?;
            let frame = syn(to, 1, &linux_options());
            let (verdict, after) = guarded.programs.exchange(&frame)?;
            assert_eq!(verdict, XDP_PASS);
            assert_eq!(after, frame);
            let counters = guarded.counters()?;
            assert_eq!((counters.cookie_queue_open, counters.passed), (1, 1));
            Ok(())
        })?;
    }
    Ok(())
}

/// The cap is on SYN-ACKs of the guard's, of which the kernel wants none here.
#[test]
fn a_listener_with_room_gets_more_syns_than_may_be_answered() -> Result<()> {
    inside(&[("ipv4/tcp_syncookies", "1")], || {
        let (_listener, to) = listen(V4)?;
        let mut guarded = Guarded::new(to, Method::Cookie)?;
        guarded.configure(&GuardSettings {
            synack_per_second: 1,
            ..SETTINGS
        })?;
        guarded
            .programs
            .receive_often(&syn(to, 1, &linux_options()), 1_000)?;
        let counters = guarded.counters()?;
        assert_eq!((counters.synack_limited, counters.passed), (0, 1_000));
        Ok(())
    })
}

/// Nobody judges any more: nothing is dropped, whatever the cap says.
#[test]
fn without_a_sign_of_life_the_cap_drops_nothing() -> Result<()> {
    inside(&[ALWAYS], || {
        let (_listener, to) = listen(V4)?;
        let mut guarded = Guarded::new(to, Method::Cookie)?;
        guarded.configure(&GuardSettings {
            synack_per_second: 1,
            hold_seconds: 1,
            ..SETTINGS
        })?;
        guarded.beat(0)?;
        // A slow machine sends few within a window of the budget.
        for port in 1..60_000 {
            guarded
                .programs
                .exchange(&syn(to, port, &linux_options()))?;
            if port % 100 == 0 && guarded.counters()?.lapsed > 0 {
                break;
            }
        }
        let counters = guarded.counters()?;
        assert!(counters.lapsed > 0 && counters.cookies > 0, "{counters:?}");
        assert_eq!(counters.synack_limited, 0);
        Ok(())
    })
}

#[test]
fn syn_acks_are_capped() -> Result<()> {
    inside(&[ALWAYS], || {
        let (_listener, to) = listen(V4)?;
        let mut guarded = Guarded::new(to, Method::Cookie)?;
        guarded.configure(&GuardSettings {
            synack_per_second: 10,
            ..SETTINGS
        })?;
        // A test run repeats over the same frame, which monitoring leaves as it is.
        guarded.mode(GuardMode::Monitor, 0)?;
        guarded
            .programs
            .receive_often(&syn(to, 1, &linux_options()), 100_000)?;
        let totals = guarded.programs.balanced(1, Direction::Ingress)?;
        let capped = totals.would_drop[DropReason::SynAckRate as usize];
        assert!(totals.would_transmit >= 2 && capped > 0, "{totals:?}");
        assert_eq!(totals.would_transmit + capped, 100_000);
        assert_eq!(totals.dropped, 0);
        Ok(())
    })
}
