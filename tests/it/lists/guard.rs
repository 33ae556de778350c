//! Lists and the SYN-flood guard together, and lists on tagged frames.

use std::net::{IpAddr, SocketAddr, TcpListener};

use anyhow::{Context as _, Result};
use sensor::lists::List;
use sensor::source::live::monotonic_ns;
use sensor_ebpf::abi::{
    Destination, DestinationCounters, DropReason, GuardMode, GuardSettings, Method,
};
use sensor_tests::{flood, root_or_skip};

use super::bed::{Bed, XDP_DROP, XDP_PASS, server, syn, tagged};

const XDP_TX: u32 = 3;
const PORT: u16 = 80;

/// No tag, a customer's, and a customer's within a provider's (802.1ad).
const TAGS: [&[(u16, u16)]; 3] = [&[], &[(0x8100, 20)], &[(0x88a8, 5), (0x8100, 20)]];

/// Puts what `of` is sent to under defence by a method that is strict from the first SYN on.
fn defend(bed: &mut Bed, of: IpAddr, method: Method) -> Result<()> {
    let settings = GuardSettings {
        source_per_second: 1,
        source_burst: 1,
        ..GuardSettings::DEFAULT
    };
    bed.plane.guard_configure(&settings, GuardMode::Mitigate)?;
    let destination = Destination {
        method: method as u32,
        ..Destination::default()
    };
    let key = flood::key(SocketAddr::new(server(of), PORT));
    bed.plane.guard_put(key, destination)?;
    Ok(bed.plane.guard_heartbeat(monotonic_ns())?)
}

fn counters(bed: &mut Bed, of: IpAddr) -> Result<DestinationCounters> {
    let key = flood::key(SocketAddr::new(server(of), PORT));
    let counters = bed.plane.guard_counters(&key)?;
    counters.context("it is watched")
}

/// What becomes of a stranger's second SYN in a row.
const fn fate(method: Method) -> u32 {
    match method {
        Method::Cookie => XDP_TX,
        _ => XDP_DROP,
    }
}

#[test]
fn who_is_allowed_passes_under_attack_and_who_is_blocked_is_no_part_of_it() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    for method in [Method::Cookie, Method::Retransmission, Method::Rate] {
        for (stranger, allowed, blocked) in [
            ("192.0.2.1", "192.0.2.2", "192.0.2.3"),
            ("2001:db8::1", "2001:db8::2", "2001:db8::3"),
        ] {
            Bed::run(|bed| {
                // The kernel then makes a cookie for every SYN to a listener.
                std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2")?;
                let _listener = TcpListener::bind(("::", PORT))?;
                let stranger: IpAddr = stranger.parse()?;
                defend(bed, stranger, method)?;
                bed.list(List::Allow, allowed, None)?;
                bed.list(List::Block, blocked, None)?;
                // Allowing wins over blocking, also where both meet the guard.
                bed.list(List::Block, allowed, None)?;
                let [stranger, allowed, blocked] = [stranger, allowed.parse()?, blocked.parse()?]
                    .map(|from| (from, syn(from, PORT)));
                let mut runs = 0;
                for tags in TAGS {
                    // Its first may pass, by the method "rate".
                    bed.verdict(&tagged(&stranger.1, tags))?;
                    assert_eq!(bed.verdict(&tagged(&stranger.1, tags))?, fate(method));
                    for _ in 0..5 {
                        assert_eq!(bed.verdict(&tagged(&allowed.1, tags))?, XDP_PASS);
                        assert_eq!(bed.verdict(&tagged(&blocked.1, tags))?, XDP_DROP);
                    }
                    runs += 12;
                }
                let counted = counters(bed, stranger.0)?;
                let totals = bed.received()?.totals;
                let taken = counted.cookies + counted.first_dropped + counted.source_limited;
                assert!(
                    taken >= TAGS.len() as u64 && taken <= 2 * TAGS.len() as u64,
                    "{counted:?}"
                );
                // Six of strangers, fifteen of those who are allowed, none of the blocked.
                assert_eq!(counted.syn, 6 + 15, "{counted:?}");
                assert_eq!(counted.passed + taken, counted.syn, "{counted:?}");
                assert_eq!(totals.runs, runs, "{totals:?}");
                assert_eq!(totals.dropped_by[DropReason::BlockAddress as usize], 15);
                let by_guard = totals.dropped + totals.transmitted - 15;
                assert_eq!(by_guard, taken, "{totals:?}");
                Ok(())
            })?;
        }
    }
    Ok(())
}

#[test]
fn tags_hide_nobody() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    Bed::run(|bed| {
        for target in ["192.0.2.0/24", "2001:db8::1", "tcp/81"] {
            bed.list(List::Block, target, None)?;
        }
        bed.list(List::Allow, "192.0.2.7", None)?;
        for tags in TAGS {
            for (from, port, passes) in [
                ("192.0.2.1", 80, false),
                ("192.0.2.7", 81, true),
                ("198.51.100.1", 80, true),
                ("198.51.100.1", 81, false),
                ("2001:db8::1", 80, false),
                ("2001:db8::2", 80, true),
                ("2001:db8::2", 81, false),
            ] {
                let frame = tagged(&syn(from.parse()?, port), tags);
                assert_eq!(bed.passes(&frame)?, passes, "{tags:?} {from} {port}");
            }
        }
        let dropped = bed.received()?.totals.dropped_by;
        assert_eq!(dropped[DropReason::BlockAddress as usize], 3);
        assert_eq!(dropped[DropReason::BlockPrefix as usize], 3);
        assert_eq!(dropped[DropReason::BlockPort as usize], 6);
        Ok(())
    })
}
