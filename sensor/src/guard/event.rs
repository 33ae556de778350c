//! A change of state as an event.

use super::{Mode, State, Turn, address_of, method_name, named};
use crate::core::{
    detect::syn_flood::{self, Config},
    event::{Action, Body, Event, Extra, Guard, Proto},
    time::Timestamp,
};

const SECOND: u64 = 1_000_000_000;
const TCP: u8 = 6;

/// The alert for a change of state at the wall time `at`.
#[must_use]
pub fn event(turn: &Turn, mode: Mode, flood: &Config, at: Timestamp) -> Event {
    let (signature, action) = match turn.to {
        State::Normal => (syn_flood::Signature::Over, Action::Allowed),
        State::Alert => (syn_flood::Signature::Seen, Action::Allowed),
        State::Mitigating => (syn_flood::Signature::Mitigated, Action::Blocked),
    };
    let alert = Box::new(signature.alert(action));
    let mut event = Event::new(at, Body::Alert { alert });
    event.dest_ip = Some(address_of(&turn.key).into());
    event.dest_port = Some(turn.key.port);
    event.proto = Some(Proto(TCP));
    let observed = [
        ("syns_per_second", turn.rates.syn),
        ("syns_per_second_threshold", flood.syn_rate),
        ("completed_percent", turn.rates.completed_percent),
        ("completed_percent_threshold", flood.completed_percent),
    ];
    let counted = named(&turn.did).into_iter().filter(|(_, count)| *count > 0);
    event.extra = Some(Box::new(Extra {
        observed: observed.into_iter().collect(),
        guard: Some(Box::new(Guard {
            mode: mode.as_str(),
            state: turn.to.as_str(),
            previous_state: turn.from.as_str(),
            previous_seconds: turn.at.saturating_sub(turn.since) / SECOND,
            taken_over: turn.taken_over,
            method: method_name(turn.method),
            obstacle: turn.obstacle.map(super::Obstacle::as_str),
            counted: counted.collect(),
        })),
        ..Extra::default()
    }));
    event
}
