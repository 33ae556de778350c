//! From what the kernel holds to what the judge wants it to hold.
//!
//! The difference is worked out anew each time, whatever was tried before: a step that the kernel
//! refuses is due again the next time, and holds back no other.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use sensor_ebpf::abi::{Destination, DestinationKey};

/// One step that brings the kernel closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Count what comes to the destination, and treat it so. The slot is the data plane's to give.
    Put(DestinationKey, Destination),
    /// Forget the destination.
    Remove(DestinationKey),
}

impl Step {
    /// Whom it is about.
    #[must_use]
    pub const fn key(&self) -> &DestinationKey {
        match self {
            Self::Put(key, _) | Self::Remove(key) => key,
        }
    }
}

/// The steps from `held` to `wanted`, each destination in at most one of them. What goes comes
/// first, as it makes room.
#[must_use]
pub fn steps(
    wanted: impl IntoIterator<Item = (DestinationKey, Destination)>,
    held: &[(DestinationKey, Destination)],
) -> Vec<Step> {
    let mut wanted: HashMap<_, _, RandomState> = wanted.into_iter().collect();
    let mut steps = Vec::new();
    for (key, held) in held {
        match wanted.get(key) {
            None => steps.push(Step::Remove(*key)),
            Some(one) if is_same(one, held) => {
                wanted.remove(key);
            }
            Some(_) => {}
        }
    }
    steps.extend(wanted.into_iter().map(|(key, one)| Step::Put(key, one)));
    steps
}

/// Whether the kernel does the same for both; slots mean nothing here.
fn is_same(one: &Destination, other: &Destination) -> bool {
    let without_slot = |one: &Destination| Destination { slot: 0, ..*one };
    without_slot(one) == without_slot(other)
}

#[cfg(test)]
mod tests {
    use sensor_ebpf::abi::Method;

    use super::*;

    const fn key(port: u16) -> DestinationKey {
        DestinationKey {
            address: [7; 16],
            port,
            _pad: 0,
        }
    }

    const fn destination(slot: u32, method: Method, syn_per_second: u32) -> Destination {
        Destination {
            slot,
            method: method as u32,
            syn_per_second,
            flags: 0,
        }
    }

    #[test]
    fn only_what_differs_is_done_and_what_goes_comes_first() {
        let held = [
            (key(1), destination(5, Method::Cookie, 0)),
            (key(2), destination(6, Method::Cookie, 0)),
            (key(3), destination(7, Method::Rate, 10)),
            (key(4), destination(8, Method::Watch, 0)),
        ];
        let method = destination(0, Method::Retransmission, 0);
        let limit = destination(0, Method::Rate, 20);
        let new = destination(0, Method::Watch, 0);
        let wanted = [
            (key(1), destination(0, Method::Cookie, 0)),
            (key(2), method),
            (key(3), limit),
            (key(9), new),
        ];
        let mut steps = steps(wanted, &held);
        assert_eq!(steps[0], Step::Remove(key(4)));
        steps.sort_by_key(|step| *step.key());
        assert_eq!(
            steps,
            [
                Step::Put(key(2), method),
                Step::Put(key(3), limit),
                Step::Remove(key(4)),
                Step::Put(key(9), new),
            ]
        );
    }

    #[test]
    fn what_is_as_wanted_is_left_alone() {
        let held = [(key(1), destination(9, Method::Cookie, 3))];
        assert_eq!(
            steps([(key(1), destination(0, Method::Cookie, 3))], &held),
            []
        );
        assert_eq!(steps([], &[]), []);
    }
}
