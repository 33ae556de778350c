//! Refusals of the kernel, and what an earlier process has left.

use std::io;

use super::*;
use crate::lists::{Compiled, Feed, NewEntry, Record};

const NOW: Timestamp = Timestamp(0);

/// Keeps what it is given, unless it refuses.
#[derive(Default)]
struct Fake {
    refuses: Option<Call>,
    records: Vec<(u32, Record)>,
    zeroed: Vec<u32>,
    in_force: Compiled,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Remember,
    Zero,
    Put,
}

impl Fake {
    fn check(&self, call: Call) -> Result<(), PlaneError> {
        if self.refuses == Some(call) {
            let source = io::ErrorKind::OutOfMemory.into();
            let what = "test";
            return Err(PlaneError { what, source });
        }
        Ok(())
    }

    /// What the next process finds.
    fn remains(&self) -> Remains {
        Remains {
            records: self.records.clone(),
            in_force: self.in_force.clone(),
        }
    }
}

impl Kernel for Fake {
    fn remember(&mut self, records: &[(u32, Record)]) -> Result<usize, PlaneError> {
        self.check(Call::Remember)?;
        self.records = records.to_vec();
        Ok(0)
    }

    fn zero_hits(&mut self, counters: &[u32]) -> Result<(), PlaneError> {
        self.check(Call::Zero)?;
        self.zeroed.extend_from_slice(counters);
        Ok(())
    }

    fn put(&mut self, lists: Compiled) -> Result<(), PlaneError> {
        self.check(Call::Put)?;
        self.in_force = lists;
        Ok(())
    }
}

fn blocked(target: &str) -> NewEntry {
    NewEntry {
        target: target.parse().unwrap(),
        list: List::Block,
        source: Source::Command,
        reason: "".into(),
        dry_run: false,
        until_ns: None,
    }
}

fn resumed(kernel: &Fake) -> LiveLists {
    LiveLists::new(&kernel.remains())
}

/// What is listed, each target with its source.
fn listed(lists: &LiveLists) -> Vec<String> {
    let keys = lists.model.iter().map(|(key, _)| key);
    keys.map(|key| format!("{} by {}", key.target, key.source))
        .collect()
}

#[test]
fn what_could_not_be_remembered_is_remembered_later() {
    let mut kernel = Fake {
        refuses: Some(Call::Remember),
        ..Fake::default()
    };
    let mut lists = resumed(&kernel);
    lists.model.add(blocked("192.0.2.1"), NOW).unwrap();
    lists.install(&mut kernel).expect("it is in force");
    assert_eq!(kernel.in_force, lists.model.compile());
    assert_eq!(lists.counts().unremembered, 1);
    // Meanwhile what is in force is left alone.
    kernel.refuses = Some(Call::Put);
    lists.expire(&mut kernel);
    assert_eq!(kernel.records, lists.model.records());
    assert!(!lists.is_behind && !lists.is_forgetful);
    assert_eq!(lists.counts().unremembered, 0);
}

#[test]
fn counters_are_zeroed_before_their_entries_are_in_force_however_often_that_fails() {
    // An earlier process may have used any counter.
    let mut kernel = Fake::default();
    let mut lists = resumed(&kernel);
    lists.model.add(blocked("192.0.2.1"), NOW).unwrap();
    kernel.refuses = Some(Call::Zero);
    lists.install(&mut kernel).expect_err("it is refused");
    assert!(kernel.in_force.is_empty());
    kernel.refuses = Some(Call::Put);
    lists.expire(&mut kernel);
    assert_eq!(kernel.zeroed, [0]);
    kernel.refuses = None;
    lists.expire(&mut kernel);
    assert_eq!(kernel.in_force, lists.model.compile());
    assert_eq!(kernel.zeroed, [0], "what it has counted since is kept");
}

/// A reload, or a start.
fn configure(lists: &mut LiveLists, kernel: &mut Fake, feeds: &[(&str, Option<&str>)]) -> bool {
    let settings = ListSettings {
        feeds: feeds.iter().map(|(path, _)| path.into()).collect(),
        ..ListSettings::default()
    };
    let read = |text: &Option<&str>| match text {
        Some(text) => Ok(Feed::parse(text)),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    let feeds: Vec<_> = feeds
        .iter()
        .map(|(path, text)| (path.into(), read(text)))
        .collect();
    lists.configure(kernel, &settings, &feeds, NOW)
}

#[test]
fn a_feed_that_cannot_be_read_keeps_its_entries_also_over_a_restart() {
    let mut kernel = Fake::default();
    let mut lists = resumed(&kernel);
    let both = [("a", Some("192.0.2.0/24")), ("b", Some("198.51.100.1"))];
    assert!(configure(&mut lists, &mut kernel, &both));
    let in_force = kernel.in_force.clone();
    let targets = |compiled: &Compiled| {
        let nets = compiled.exact.iter().chain(&compiled.prefixes);
        nets.map(|(net, _)| *net).collect::<Vec<_>>()
    };
    let without_b = [("a", Some("192.0.2.0/24")), ("b", None)];
    assert!(!configure(&mut lists, &mut kernel, &without_b));
    assert_eq!(kernel.in_force, in_force);
    // Twice, since the second process has read what the first could not.
    for _ in 0..2 {
        lists = resumed(&kernel);
        assert!(!configure(&mut lists, &mut kernel, &without_b));
        assert_eq!(targets(&kernel.in_force), targets(&in_force));
        assert_eq!(
            listed(&lists),
            [
                "192.0.2.0/24 by feed a",
                "198.51.100.1 by feeds before the restart"
            ]
        );
    }
    let again = [("a", Some("192.0.2.0/24")), ("b", Some("203.0.113.1"))];
    assert!(configure(&mut lists, &mut kernel, &again));
    assert_eq!(
        listed(&lists),
        ["192.0.2.0/24 by feed a", "203.0.113.1 by feed b"]
    );
}

#[test]
fn what_feeds_had_goes_at_a_start_that_reads_them_all() {
    let mut kernel = Fake::default();
    let mut lists = resumed(&kernel);
    configure(
        &mut lists,
        &mut kernel,
        &[("a", Some("192.0.2.1\n192.0.2.2"))],
    );
    lists = resumed(&kernel);
    assert!(configure(
        &mut lists,
        &mut kernel,
        &[("a", Some("192.0.2.2"))]
    ));
    assert_eq!(listed(&lists), ["192.0.2.2 by feed a"]);
    lists = resumed(&kernel);
    assert!(configure(&mut lists, &mut kernel, &[]));
    assert!(kernel.in_force.is_empty(), "no feed is named any more");
}
