//! What systemd is told; nothing happens where it does not listen.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// A reload begins; [`ready`] ends it.
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
}

/// One line for `systemctl status`.
pub(super) fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// Feeds the watchdog from the live loop: a loop that hangs is restarted.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// Half of what systemd allows.
    interval: Option<Duration>,
    fed: Instant,
}

impl Watchdog {
    pub(super) fn new() -> Self {
        let mut allowed_us = 0;
        let enabled = sd_notify::watchdog_enabled(false, &mut allowed_us);
        Self {
            interval: enabled.then(|| Duration::from_micros(allowed_us / 2)),
            fed: Instant::now(),
        }
    }

    pub(super) fn feed(&mut self) {
        if self
            .interval
            .is_some_and(|interval| self.fed.elapsed() >= interval)
        {
            self.fed = Instant::now();
            notify(&[NotifyState::Watchdog]);
        }
    }
}
