use super::*;

const NOW: Timestamp = Timestamp(0);

fn entry(list: List, target: &str, source: Source) -> NewEntry {
    NewEntry {
        target: target.parse().unwrap(),
        list,
        source,
        reason: "".into(),
        dry_run: false,
        until_ns: None,
    }
}

fn blocked(lists: &Lists) -> Vec<String> {
    let keys = lists.iter().map(|(key, _)| key);
    keys.map(|key| format!("{} by {}", key.target, key.source))
        .collect()
}

#[test]
fn an_entry_added_again_keeps_its_hits_and_takes_the_new_end() {
    let mut lists = Lists::default();
    let mut new = entry(List::Block, "192.0.2.1", Source::Command);
    new.until_ns = Some(100);
    assert_eq!(lists.add(new.clone(), NOW), Ok(true));
    let hits = lists.iter().next().unwrap().1.hits;
    new.until_ns = Some(200);
    assert_eq!(lists.add(new, NOW), Ok(false));
    assert_eq!(lists.expire(199).len(), 0);
    let ended = lists.expire(200);
    assert_eq!((ended.len(), ended[0].1.hits), (1, hits));
    assert!(lists.compile().is_empty());
}

#[test]
fn a_command_deletes_what_commands_and_detectors_added_and_nothing_else() {
    let mut lists = Lists::default();
    let target = "192.0.2.0/24".parse().unwrap();
    for source in [Source::Command, Source::Detector("scan"), Source::Config] {
        lists
            .add(entry(List::Block, "192.0.2.0/24", source), NOW)
            .unwrap();
    }
    assert_eq!(
        lists.delete(List::Allow, target),
        Err(ListError::Missing {
            target,
            list: List::Allow
        })
    );
    let error = lists.delete(List::Block, target).unwrap_err();
    assert_eq!(
        error.to_string(),
        "192.0.2.0/24 is on the block list by the config: take it out there and reload (SIGHUP)"
    );
    assert_eq!(blocked(&lists), ["192.0.2.0/24 by config"]);
    assert_eq!(lists.count(List::Block), 1);
    lists
        .add(entry(List::Block, "192.0.2.0/24", Source::Command), NOW)
        .unwrap();
    assert!(lists.replace(&Source::Config, Vec::new(), NOW).unwrap());
    assert_eq!(lists.delete(List::Block, target), Ok(()));
    assert_eq!(blocked(&lists), [""; 0]);
}

#[test]
fn entries_are_counted_by_list() {
    let mut lists = Lists::default();
    for (list, target) in [(List::Allow, "10.0.0.1"), (List::Block, "10.0.0.1")] {
        for source in [Source::Command, Source::Config, Source::Command] {
            lists.add(entry(list, target, source), NOW).unwrap();
        }
    }
    let count = |lists: &Lists| (lists.count(List::Allow), lists.count(List::Block));
    assert_eq!(count(&lists), (2, 2));
    let target = "10.0.0.1".parse().unwrap();
    lists.delete(List::Allow, target).expect_err("one stays");
    assert_eq!(count(&lists), (1, 2));
    assert_eq!(lists.records().len(), 3);
}

#[test]
fn a_feed_is_replaced_by_what_it_holds_now() {
    let mut lists = Lists::default();
    let feed = Source::Feed("drop.txt".into());
    let of = |targets: &[&str]| {
        let entries = targets.iter();
        entries
            .map(|target| entry(List::Block, target, feed.clone()))
            .collect::<Vec<_>>()
    };
    lists
        .add(entry(List::Block, "10.0.0.1", Source::Command), NOW)
        .unwrap();
    let first = of(&["10.0.0.0/8", "10.0.0.1", "10.0.0.1"]);
    assert_eq!(lists.replace(&feed, first.clone(), NOW), Ok(true));
    assert_eq!(
        lists.replace(&feed, first, NOW),
        Ok(false),
        "the same again"
    );
    let hits = |lists: &Lists| lists.iter().last().map(|(_, entry)| entry.hits);
    let before = hits(&lists);
    assert_eq!(lists.replace(&feed, of(&["10.0.0.1"]), NOW), Ok(true));
    assert_eq!(
        blocked(&lists),
        ["10.0.0.1 by command", "10.0.0.1 by feed drop.txt"]
    );
    assert_eq!(hits(&lists), before);
}

#[test]
fn full_lists_refuse_more_and_stay_as_they_are() {
    let mut lists = Lists::default();
    let all: Vec<_> = (0..LIST_ENTRIES as u32)
        .map(|address| NewEntry {
            target: Target::Net(super::super::Prefix::new(
                std::net::Ipv4Addr::from(address).into(),
                32,
            )),
            ..entry(List::Block, "::", Source::Config)
        })
        .collect();
    let mut more = all.clone();
    more.push(entry(List::Block, "192.0.2.1", Source::Config));
    assert_eq!(
        lists.replace(&Source::Config, more, NOW),
        Err(ListError::Full)
    );
    assert_eq!(lists.count(List::Block), 0);
    lists.replace(&Source::Config, all, NOW).unwrap();
    let one = entry(List::Block, "192.0.2.1", Source::Command);
    assert_eq!(lists.add(one.clone(), NOW), Err(ListError::Full));
    // A counter that comes back into use has to be zeroed.
    lists.replace(&Source::Config, Vec::new(), NOW).unwrap();
    assert!(lists.reused().is_empty());
    assert_eq!(lists.add(one, NOW), Ok(true));
    assert_eq!(lists.reused().len(), 1);
    lists.zeroed();
    assert!(lists.reused().is_empty());
}

#[test]
fn reasons_are_cut_and_dry_runs_only_block() {
    let mut lists = Lists::default();
    let mut long = entry(List::Block, "192.0.2.1", Source::Command);
    long.reason = "ä".repeat(1000).into();
    lists.add(long, NOW).unwrap();
    let kept = lists.iter().next().unwrap().1.reason.chars().count();
    assert_eq!(kept, MAX_REASON);
    let mut dry = entry(List::Allow, "192.0.2.1", Source::Command);
    dry.dry_run = true;
    assert_eq!(lists.add(dry, NOW), Err(ListError::DryAllow));
}
