//! The SYN-flood guard's part of `sensor status`.

use std::cmp::Reverse;

use serde_json::{Map, Value, json};

use crate::{
    core::event::EveTime,
    daemon::live::guard::Guard,
    guard::{Obstacle, Watched, address_of, method_name, named},
    source::live::{Clock, monotonic_ns},
};

/// Mode, obstacles and every watched destination, the gravest and busiest first.
pub(super) fn status(guard: &Guard, clock: &Clock) -> Value {
    let judge = guard.judge_state();
    let mut watched: Vec<_> = judge.watched().collect();
    watched.sort_by_key(|(key, one)| (Reverse((one.state, one.rates.syn)), **key));
    let now = monotonic_ns();
    let destinations: Vec<_> = watched
        .iter()
        .map(|(key, one)| {
            let mut row = destination(one, clock, now);
            row.insert("address".to_owned(), json!(address_of(key)));
            row.insert("port".to_owned(), json!(key.port));
            Value::Object(row)
        })
        .collect();
    let stats = judge.stats();
    let [ipv4, ipv6] = guard.obstacles().map(|obstacle| {
        json!({
            "state": obstacle.map_or("available", |(obstacle, _)| obstacle.as_str()),
            "remedy": obstacle.map(|(_, why)| why),
        })
    });
    json!({
        "mode": guard.mode().as_str(),
        "cookies": { "ipv4": ipv4, "ipv6": ipv6 },
        "destinations": destinations,
        "refused": stats.refused,
        "displaced": stats.displaced,
    })
}

fn destination(one: &Watched, clock: &Clock, now: u64) -> Map<String, Value> {
    let counted = |counters| {
        let counters = named(counters).into_iter().filter(|(_, count)| *count > 0);
        counters
            .map(|(name, count)| (name.to_owned(), json!(count)))
            .collect::<Map<_, _>>()
    };
    let since = EveTime(clock.wall(one.since));
    let fields = [
        ("state", json!(one.state.as_str())),
        ("since", json!(since)),
        (
            "seconds",
            json!(now.saturating_sub(one.since) / 1_000_000_000),
        ),
        ("method", json!(method_name(one.method))),
        ("obstacle", json!(one.obstacle.map(Obstacle::as_str))),
        ("syns_per_second", json!(one.rates.syn)),
        ("completed_percent", json!(one.rates.completed_percent)),
        // In this state, and since it is watched.
        ("counted", Value::Object(counted(&one.did))),
        ("counted_total", Value::Object(counted(&one.total()))),
    ];
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
