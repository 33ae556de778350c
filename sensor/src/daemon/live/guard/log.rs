//! Changes of a destination's state in the log.

use crate::guard::{self, Mode, Turn, method_name};

/// Writes turns to the log, too.
pub(super) fn telling(mode: Mode, tell: &mut dyn FnMut(&Turn)) -> impl FnMut(Turn) {
    move |turn| {
        log(mode, &turn);
        tell(&turn);
    }
}

fn log(mode: Mode, turn: &Turn) {
    let destination =
        std::net::SocketAddr::new(guard::address_of(&turn.key), turn.key.port).to_string();
    let (mode, method) = (mode.as_str(), method_name(turn.method));
    let (state, syns) = (turn.to.as_str(), turn.rates.syn);
    if turn.to == guard::State::Normal {
        tracing::info!(destination, "SYN flood over");
    } else {
        tracing::warn!(
            destination,
            mode,
            state,
            method,
            syns_per_second = syns,
            completed_percent = turn.rates.completed_percent,
            "SYN flood"
        );
    }
}
