//! What the kernel refuses: counted each time, told once for as long as it lasts.

use std::{collections::HashMap, net::SocketAddr};

use foldhash::quality::RandomState;
use sensor_ebpf::abi::DestinationKey;

use crate::{
    bpf::PlaneError,
    guard::{Step, address_of},
};

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Settings,
    Suspects,
    Heartbeat,
    Counters(DestinationKey),
    Destination(DestinationKey),
}

impl Subject {
    /// The one that it is about, if it is about one.
    fn destination(&self) -> Option<String> {
        match self {
            Self::Counters(key) | Self::Destination(key) => {
                Some(SocketAddr::new(address_of(key), key.port).to_string())
            }
            Self::Settings | Self::Suspects | Self::Heartbeat => None,
        }
    }
}

/// The refusals of this poll and of the one before.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    former: Refusals,
    current: Refusals,
    count: u64,
    told: u64,
}

/// With the step that was refused, where it is one.
type Refusals = HashMap<Subject, Option<Step>, RandomState>;

impl Complaints {
    /// Another poll begins: what is not refused again is over.
    pub(super) fn turn(&mut self) {
        self.former = std::mem::take(&mut self.current);
    }

    pub(super) fn add(&mut self, subject: Subject, step: Option<Step>, error: &PlaneError) {
        self.count += 1;
        let before = self.current.insert(subject, step);
        if before.or_else(|| self.former.get(&subject).copied()) == Some(step) {
            return;
        }
        self.told += 1;
        let more = "it is tried again until it is done";
        match subject.destination() {
            Some(destination) => {
                tracing::error!(destination, "SYN-flood guard: {error}; {more}");
            }
            None => tracing::error!("SYN-flood guard: {error}; {more}"),
        }
    }

    /// Counts what the result is, if it is an error.
    pub(super) fn check(&mut self, subject: Subject, result: Result<(), PlaneError>) {
        if let Err(error) = result {
            self.add(subject, None, &error);
        }
    }

    /// All refusals.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use sensor_ebpf::abi::Destination;

    use super::*;

    #[test]
    fn what_lasts_is_told_once_and_counted_each_time() {
        let error = PlaneError {
            what: "test",
            source: std::io::Error::other("refused"),
        };
        let key = DestinationKey::default();
        let subject = Subject::Destination(key);
        let step = |method| {
            let destination = Destination {
                method,
                ..Destination::default()
            };
            Some(Step::Put(key, destination))
        };
        let mut complaints = Complaints::default();
        for _ in 0..10 {
            complaints.turn();
            // Twice in a poll.
            complaints.add(subject, step(1), &error);
            complaints.add(subject, step(1), &error);
            complaints.add(Subject::Heartbeat, None, &error);
        }
        assert_eq!((complaints.count(), complaints.told), (30, 2));
        // Something else is refused.
        complaints.turn();
        complaints.add(subject, step(2), &error);
        complaints.add(Subject::Counters(key), None, &error);
        assert_eq!((complaints.count(), complaints.told), (32, 4));
        // It was over, and is back.
        complaints.turn();
        complaints.turn();
        complaints.add(subject, step(2), &error);
        assert_eq!((complaints.count(), complaints.told), (33, 5));
    }
}
