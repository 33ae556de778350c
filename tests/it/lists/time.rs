//! Time-to-live, and flows that are under way when a list changes.

use std::time::Duration;

use anyhow::Result;
use sensor::lists::List;
use sensor_ebpf::abi::DropReason;
use sensor_tests::{root_or_skip, until};

use super::bed::{Bed, packet};

/// Nobody but the kernel has a part in the end of the block.
#[test]
fn an_established_flow_is_blocked_and_passes_again_when_the_block_is_over() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    for target in ["10.0.0.1", "10.0.0.0/8", "tcp/80"] {
        Bed::run(|bed| {
            let frame = packet("10.0.0.1".parse()?, true, 80);
            assert!(bed.passes(&frame)? && bed.passes(&frame)?);
            // Longer than the test needs to notice it.
            bed.list(List::Block, target, Some(1.5))?;
            assert!(!bed.passes(&frame)?, "{target}");
            until("the block's end", || {
                std::thread::sleep(Duration::from_millis(20));
                bed.passes(&frame).is_ok_and(|passes| passes).then_some(())
            })?;
            assert!(bed.passes(&frame)?);
            let totals = bed.received()?.totals;
            assert!(totals.dropped > 0 && totals.suppressed.iter().sum::<u64>() == totals.dropped);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn hits_and_reasons_name_the_entry() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    Bed::run(|bed| {
        for target in ["10.0.0.1", "10.0.0.0/24", "10.0.0.0/8", "udp/53"] {
            bed.list(List::Block, target, None)?;
        }
        bed.list(List::Allow, "10.0.0.200", None)?;
        let frames = [
            ("10.0.0.1", true, 3_u64),
            ("10.0.0.2", true, 5),
            ("10.1.0.1", true, 7),
            ("10.0.0.200", true, 11),
            ("192.0.2.1", false, 13),
        ];
        for (from, is_tcp, count) in frames {
            for _ in 0..count {
                bed.passes(&packet(from.parse()?, is_tcp, 53))?;
            }
        }
        let mut hits = Vec::new();
        for (key, entry) in bed.lists.iter() {
            let hit = bed.plane.list_hits(entry)?;
            let len = packet("10.0.0.1".parse()?, true, 53).len() as u64;
            assert!(hit.last_ns > 0 && hit.bytes >= hit.packets * len, "{hit:?}");
            hits.push((key.target.to_string(), hit.packets));
        }
        let expected = [
            ("10.0.0.0/8", 7),
            ("10.0.0.0/24", 5),
            ("10.0.0.1", 3),
            ("10.0.0.200", 11),
            ("udp/53", 13),
        ];
        let expected = expected.map(|(target, packets)| (target.to_owned(), packets));
        assert_eq!(hits, expected);
        let dropped = bed.received()?.totals.dropped_by;
        assert_eq!(dropped[DropReason::BlockAddress as usize], 3);
        assert_eq!(dropped[DropReason::BlockPrefix as usize], 12);
        assert_eq!(dropped[DropReason::BlockPort as usize], 13);
        Ok(())
    })
}

/// What a CPU remembers of a source holds no longer than the lists that said so.
#[test]
fn a_source_that_was_just_blocked_passes_once_the_lists_say_so() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    for (from, neighbour) in [("10.0.0.1", "10.0.0.9"), ("2001:db8::1", "2001:db8::9")] {
        Bed::run(|bed| {
            let frame = packet(from.parse()?, true, 80);
            // With it the index goes on pointing at single addresses.
            bed.list(List::Block, neighbour, None)?;
            bed.list(List::Block, from, None)?;
            assert!(!bed.passes(&frame)? && !bed.passes(&frame)?, "{from}");
            bed.list(List::Allow, from, None)?;
            assert!(bed.passes(&frame)?, "{from} is allowed");
            bed.unlist(List::Allow, from)?;
            assert!(!bed.passes(&frame)? && !bed.passes(&frame)?, "{from}");
            bed.unlist(List::Block, from)?;
            assert!(bed.passes(&frame)?, "{from} is listed no more");
            Ok(())
        })?;
    }
    Ok(())
}

/// More sources than a CPU has places to remember them, of which each keeps its entry and reason.
#[test]
fn many_blocked_sources_in_turn_are_told_apart() -> Result<()> {
    const ROUNDS: u64 = 3;
    if !root_or_skip() {
        return Ok(());
    }
    Bed::run(|bed| {
        let sources: Vec<_> = (0..=255).map(|last| format!("10.0.0.{last}")).collect();
        bed.list(List::Block, "10.0.0.0/25", None)?;
        for (at, source) in sources.iter().enumerate() {
            // Half of them are listed themselves; all have the same bits in the index.
            if at % 2 == 0 {
                bed.list(List::Block, source, None)?;
            }
        }
        for _ in 0..ROUNDS {
            for (at, source) in sources.iter().enumerate() {
                let is_blocked = at % 2 == 0 || at < 128;
                let frame = packet(source.parse()?, true, 80);
                assert_eq!(bed.passes(&frame)?, !is_blocked, "{source}");
            }
        }
        for (key, entry) in bed.lists.iter() {
            let hits = bed.plane.list_hits(entry)?.packets;
            let expected = if key.target.to_string().contains('/') {
                64 * ROUNDS
            } else {
                ROUNDS
            };
            assert_eq!(hits, expected, "{}", key.target);
        }
        let dropped = bed.received()?.totals.dropped_by;
        assert_eq!(dropped[DropReason::BlockAddress as usize], 128 * ROUNDS);
        assert_eq!(dropped[DropReason::BlockPrefix as usize], 64 * ROUNDS);
        Ok(())
    })
}
