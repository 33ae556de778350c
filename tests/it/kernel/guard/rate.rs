use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use sensor_ebpf::abi::{Destination, Direction, DropReason, GuardSettings, Method};

use super::bed::{Guarded, SETTINGS, XDP_PASS, inside, syn};

const TO: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 80);

#[test]
fn a_source_has_its_burst_and_then_its_rate() -> Result<()> {
    inside(&[], || {
        let mut guarded = Guarded::new(TO, Method::Rate)?;
        guarded.configure(&GuardSettings {
            source_per_second: 1,
            source_burst: 3,
            ..SETTINGS
        })?;
        guarded.programs.receive_often(&syn(TO, 1, &[]), 10_000)?;
        let counters = guarded.counters()?;
        // A token a second: a run of 10,000 takes far less than an hour.
        assert!((3..3_600).contains(&counters.passed), "{counters:?}");
        assert_eq!(counters.source_limited + counters.passed, 10_000);
        // Others have a bucket of their own.
        assert_eq!(guarded.programs.receive(&syn(TO, 2, &[]))?, XDP_PASS);
        let totals = guarded.programs.balanced(1, Direction::Ingress)?;
        assert_eq!(
            totals.dropped_by[DropReason::SourceRate as usize],
            counters.source_limited
        );
        assert!(guarded.programs.flows(1)?.is_empty());
        Ok(())
    })
}

#[test]
fn a_destination_gets_no_more_than_its_budget() -> Result<()> {
    inside(&[], || {
        let mut guarded = Guarded::new(TO, Method::Rate)?;
        guarded.put(Destination {
            method: Method::Rate as u32,
            syn_per_second: 100,
            ..Destination::default()
        })?;
        let before = sensor::source::live::monotonic_ns();
        guarded.programs.receive_often(&syn(TO, 1, &[]), 200_000)?;
        let elapsed = sensor::source::live::monotonic_ns() - before;
        let counters = guarded.counters()?;
        // 14 in each window that the run touched.
        let windows = elapsed / (1 << 27) + 2;
        assert!(
            (14..=14 * windows).contains(&counters.passed),
            "{windows} windows, {counters:?}"
        );
        assert_eq!(counters.destination_limited + counters.passed, 200_000);
        let totals = guarded.programs.balanced(1, Direction::Ingress)?;
        assert_eq!(
            totals.dropped_by[DropReason::DestinationRate as usize],
            counters.destination_limited
        );
        Ok(())
    })
}

/// From one SYN to the next, though the budget of the window is spent.
#[test]
fn a_budget_ends_when_it_is_taken_away() -> Result<()> {
    inside(&[], || {
        let mut guarded = Guarded::new(TO, Method::Rate)?;
        for (syn_per_second, number) in [(1, 5_000), (0, 100)] {
            guarded.put(Destination {
                method: Method::Rate as u32,
                syn_per_second,
                ..Destination::default()
            })?;
            let before = guarded.counters()?.destination_limited;
            guarded.programs.receive_often(&syn(TO, 1, &[]), number)?;
            let limited = guarded.counters()?.destination_limited - before;
            assert_eq!(limited > 0, syn_per_second > 0, "{limited}");
        }
        Ok(())
    })
}

#[test]
fn without_limits_all_pass() -> Result<()> {
    inside(&[], || {
        let guarded = Guarded::new(TO, Method::Rate)?;
        guarded.programs.receive_often(&syn(TO, 1, &[]), 1_000)?;
        assert_eq!(guarded.counters()?.passed, 1_000);
        assert!(guarded.programs.flows(1)?.is_empty());
        Ok(())
    })
}

/// Most SYNs of a flood come when the budget is spent: they need not be charged to anybody.
#[test]
fn a_source_is_not_charged_once_the_budget_is_spent() -> Result<()> {
    inside(&[], || {
        let mut guarded = Guarded::new(TO, Method::Rate)?;
        guarded.put(Destination {
            method: Method::Rate as u32,
            syn_per_second: 1,
            ..Destination::default()
        })?;
        guarded.configure(&GuardSettings {
            source_per_second: 1,
            source_burst: 200,
            ..SETTINGS
        })?;
        guarded.programs.receive_often(&syn(TO, 1, &[]), 20_000)?;
        let counters = guarded.counters()?;
        // One in each window passes, and two are charged: that which passes, and that which finds the
        // budget spent. The bucket lasts for a hundred windows, far longer than the run takes.
        assert_eq!(counters.source_limited, 0, "{counters:?}");
        assert_eq!(counters.destination_limited + counters.passed, 20_000);
        Ok(())
    })
}
