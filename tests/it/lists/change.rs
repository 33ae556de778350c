//! Large lists that are changed under traffic.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sensor::{
    bpf::LoadedProgram,
    core::time::Timestamp,
    lists::{Feed, List, NewEntry, Source, Target},
};
use sensor_tests::{Numbers, root_or_skip};

use super::bed::{Bed, packet};
use crate::test_run;

const PREFIXES: usize = 100_000;
/// For a debug build on a busy machine; a release build needs a fraction of a second.
const DEADLINE: Duration = Duration::from_secs(60);
const XDP_PASS: u32 = 2;

/// The plain reference: every network as its first and last address.
struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    fn new(text: &str) -> Self {
        let mut ranges: Vec<_> = text
            .lines()
            .map(|line| {
                let (net, len) = line.split(' ').next().unwrap().split_once('/').unwrap();
                let first = u32::from(net.parse::<Ipv4Addr>().unwrap());
                let len: u32 = len.parse().unwrap();
                (first, first | u32::MAX.checked_shr(len).unwrap_or(0))
            })
            .collect();
        ranges.sort_unstable();
        // Nested ones are within the one before.
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    fn holds(&self, address: u32) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after > 0 && self.0[after - 1].1 >= address
    }

    /// Some addresses within.
    fn some(&self, count: usize) -> impl Iterator<Item = u32> {
        let step = (self.0.len() / count).max(1);
        self.0.iter().step_by(step).map(|(first, _)| *first)
    }
}

/// Time that the calling thread has had a CPU: what the work takes where others leave one free.
fn cpu_time() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn replace(bed: &mut Bed, text: &str) -> Result<Duration> {
    let source = Source::Feed("feed".into());
    let (begun, cpu) = (Instant::now(), cpu_time());
    let feed = Feed::parse(text);
    let of = |target: &Target| NewEntry {
        target: *target,
        list: List::Block,
        source: source.clone(),
        reason: "".into(),
        dry_run: false,
        until_ns: None,
    };
    let entries = feed.targets.iter().map(of).collect();
    bed.lists.replace(&source, entries, Timestamp(0))?;
    bed.install()?;
    let (took, cpu) = (begun.elapsed(), cpu_time().saturating_sub(cpu));
    eprintln!(
        "{} prefixes: {took:?}, {cpu:?} of a CPU",
        feed.targets.len()
    );
    Ok(took)
}

fn tcp(address: u32) -> Vec<u8> {
    packet(Ipv4Addr::from(address).into(), true, 80)
}

/// 100,000 networks come, half of them are replaced, all go, while packets flow: an address that
/// is listed before and after a change is never let through, one that never is listed never
/// stopped.
#[test]
fn a_feed_of_100_000_is_loaded_and_replaced_without_a_gap() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let mut numbers = Numbers::new(0x1234_5678_9abc_def1);
    let shared = numbers.feed(PREFIXES / 2);
    let first = shared.clone() + &numbers.feed(PREFIXES / 2);
    let second = shared.clone() + &numbers.feed(PREFIXES / 2);
    let always = Ranges::new(&shared);
    let (first_ranges, second_ranges) = (Ranges::new(&first), Ranges::new(&second));
    let listed: Vec<_> = always.some(500).map(tcp).collect();
    let never: Vec<_> = std::iter::repeat_with(|| numbers.draw() | 1 << 31)
        .take(500)
        .map(tcp)
        .collect();
    let probes: Vec<_> = std::iter::repeat_with(|| numbers.draw())
        .take(3000)
        .chain(first_ranges.some(1000))
        .chain(second_ranges.some(1000))
        .collect();
    Bed::run(|bed| {
        let program = bed.plane.program_fd(LoadedProgram::Ingress);
        let program = program.try_clone_to_owned()?;
        let ifindex = bed.ifindex;
        let stop = AtomicBool::new(false);
        // 0: nothing is listed yet; then the shared half must be.
        let is_listed = AtomicBool::new(false);
        let (passed, stopped) = (AtomicU64::new(0), AtomicU64::new(0));
        let (wrongly_passed, wrongly_stopped) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| -> Result<()> {
            let traffic = || -> Result<()> {
                use std::os::fd::AsFd as _;
                while !stop.load(Ordering::Relaxed) {
                    for (listed, never) in listed.iter().zip(&never) {
                        let must_stop = is_listed.load(Ordering::Acquire);
                        let verdict = test_run::receive(program.as_fd(), ifindex, listed, 1)?;
                        stopped.fetch_add(1, Ordering::Relaxed);
                        if must_stop && verdict == XDP_PASS {
                            // Unless the time in which it must be stopped has just ended.
                            let late = !is_listed.load(Ordering::Acquire);
                            wrongly_passed.fetch_add(u64::from(!late), Ordering::Relaxed);
                        }
                        let verdict = test_run::receive(program.as_fd(), ifindex, never, 1)?;
                        passed.fetch_add(1, Ordering::Relaxed);
                        wrongly_stopped
                            .fetch_add(u64::from(verdict != XDP_PASS), Ordering::Relaxed);
                    }
                }
                Ok(())
            };
            let senders = [scope.spawn(traffic), scope.spawn(traffic)];
            let mut changes = || -> Result<()> {
                let took = replace(bed, &first)?;
                ensure!(took < DEADLINE, "loading took {took:?}");
                is_listed.store(true, Ordering::Release);
                for (text, ranges) in [(&second, &second_ranges), (&first, &first_ranges)] {
                    replace(bed, text)?;
                    for address in &probes {
                        let passes = bed.passes(&tcp(*address))?;
                        let at = Ipv4Addr::from(*address);
                        ensure!(passes != ranges.holds(*address), "{at} passes: {passes}");
                    }
                    ensure!(bed.received()?.totals.dropped > 0);
                }
                is_listed.store(false, Ordering::Release);
                replace(bed, "").map(drop)
            };
            let changed = changes();
            stop.store(true, Ordering::Relaxed);
            for sender in senders {
                sender.join().expect("no panic")?;
            }
            changed
        })?;
        assert!(passed.into_inner() > 0 && stopped.into_inner() > 0);
        assert_eq!(wrongly_passed.into_inner(), 0, "passed while listed");
        assert_eq!(
            wrongly_stopped.into_inner(),
            0,
            "stopped without being listed"
        );
        for address in probes.iter().take(100) {
            assert!(bed.passes(&tcp(*address))?, "nothing is listed any more");
        }
        bed.received().map(drop)
    })
}

/// The maps have room for either feed, and not for both.
#[test]
fn a_feed_replaces_one_that_it_has_no_room_beside() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    const ADDRESSES: u32 = 200_000;
    let text = |first: u32| -> String {
        let addresses = first..first + ADDRESSES;
        addresses
            .map(|address| format!("{}\n", Ipv4Addr::from(address)))
            .collect()
    };
    let ends = |first: u32| [tcp(first), tcp(first + ADDRESSES - 1)];
    let (one, other) = (0x0a00_0000, 0x1400_0000);
    Bed::run(|bed| {
        for (listed, free) in [(one, other), (other, one)] {
            replace(bed, &text(listed))?;
            for (stopped, passing) in ends(listed).iter().zip(&ends(free)) {
                assert!(!bed.passes(stopped)?, "it is listed");
                assert!(bed.passes(passing)?, "it is not listed any more");
            }
        }
        bed.received().map(drop)
    })
}

/// The same prefix block, allowed and dry, over and over, with both CPUs counting: the law holds
/// in every generation.
#[test]
fn the_law_holds_while_lists_change() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    Bed::run(|bed| {
        let program = bed.plane.program_fd(LoadedProgram::Ingress);
        let program = program.try_clone_to_owned()?;
        let ifindex = bed.ifindex;
        let stop = AtomicBool::new(false);
        let frames: Vec<_> = (0..64).map(|low| tcp(0x0a00_0000 + low)).collect();
        std::thread::scope(|scope| -> Result<()> {
            let traffic = || -> Result<u64> {
                use std::os::fd::AsFd as _;
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    for frame in &frames {
                        test_run::receive(program.as_fd(), ifindex, frame, 5)?;
                        sent += 5;
                    }
                }
                Ok(sent)
            };
            let senders = [scope.spawn(traffic), scope.spawn(traffic)];
            let mut changes = || -> Result<(u64, u64)> {
                let (mut runs, mut dropped) = (0, 0);
                for _ in 0..40 {
                    bed.list(List::Block, "10.0.0.0/27", None)?;
                    bed.list(List::Block, "10.0.0.40", None)?;
                    bed.list(List::Allow, "10.0.0.16/28", None)?;
                    bed.unlist(List::Block, "10.0.0.40")?;
                    let totals = bed.received()?.totals;
                    (runs, dropped) = (runs + totals.runs, dropped + totals.dropped);
                    bed.unlist(List::Allow, "10.0.0.16/28")?;
                    bed.unlist(List::Block, "10.0.0.0/27")?;
                }
                Ok((runs, dropped))
            };
            let changed = changes();
            stop.store(true, Ordering::Relaxed);
            let mut sent = 0;
            for sender in senders {
                sent += sender.join().expect("no panic")?;
            }
            let (mut runs, dropped) = changed?;
            runs += bed.received()?.totals.runs;
            ensure!(runs == sent, "{runs} runs of {sent}");
            ensure!(dropped > 0);
            Ok(())
        })
    })
}
