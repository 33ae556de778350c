//! A data plane that was left at work.

use std::time::Duration;

use super::{
    super::{config, detach},
    Finding,
};
use crate::bpf::{PinError, Pinned};

/// A daemon that runs gives a sign of life about once a second.
const ALIVE: Duration = Duration::from_secs(10);

/// Looks where the configuration says; without one that is good there is nothing to be said.
pub(super) fn examine() -> Option<Finding> {
    let path = config::load(None, &[]).ok()?.config.pin.path;
    finding(Pinned::read(&path))
}

fn finding(found: Result<Option<Pinned>, PinError>) -> Option<Finding> {
    let subject = "pinned data plane";
    match found {
        Ok(None) => None,
        Ok(Some(pinned)) if pinned.unattended < ALIVE => Some(Finding::ok(
            subject,
            format!("on {}, with its daemon", detach::names(&pinned.devices)),
        )),
        Ok(Some(pinned)) => Some(Finding::warning(
            subject,
            format!(
                "on {}, without a daemon for {} s; {} packets wait to be read",
                detach::names(&pinned.devices),
                pinned.unattended.as_secs(),
                pinned.unread_packets
            ),
            "`sensor run` with `pin.enabled` takes it over, `sensor detach` removes it",
        )),
        Err(error) => Some(Finding::warning(
            subject,
            error.to_string(),
            "root can read it",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_without_a_daemon_is_a_warning_with_both_remedies() {
        let pinned = |seconds| Pinned {
            devices: vec!["eth0".into()],
            unattended: Duration::from_secs(seconds),
            unread_packets: 7,
        };
        assert_eq!(finding(Ok(None)), None);
        let alive = finding(Ok(Some(pinned(1)))).expect("a finding");
        assert_eq!(alive.remedy, None);
        let dead = finding(Ok(Some(pinned(99)))).expect("a finding");
        assert!(dead.found.contains("eth0") && dead.found.contains("99 s"));
        assert!(
            dead.remedy
                .is_some_and(|remedy| remedy.contains("sensor detach"))
        );
    }
}
