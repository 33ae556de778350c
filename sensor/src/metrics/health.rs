//! Whether the live loop turns, and whether it is attached.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A loop that has not turned for so long is taken for dead.
const STALE: Duration = Duration::from_secs(5);

/// Written by the live loop, read by the web server.
#[derive(Debug)]
pub struct Health {
    start: Instant,
    /// Milliseconds from `start` to the loop's last turn.
    turned_ms: AtomicU64,
    attached: AtomicBool,
    draining: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            turned_ms: AtomicU64::new(0),
            attached: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }
}

impl Health {
    /// The loop has turned once more.
    pub fn turned(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.turned_ms.store(elapsed, Ordering::Relaxed);
    }

    /// Whether every configured interface is attached.
    pub fn set_attached(&self, attached: bool) {
        self.attached.store(attached, Ordering::Relaxed);
    }

    /// Whether the last generation could be closed.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    pub(super) fn is_alive(&self) -> bool {
        let turned = Duration::from_millis(self.turned_ms.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(turned) < STALE
    }

    /// What is not as it should be.
    pub(super) fn unready(&self) -> Option<&'static str> {
        if !self.is_alive() {
            Some("the live loop does not turn")
        } else if !self.attached.load(Ordering::Relaxed) {
            Some("not attached to every interface")
        } else if !self.draining.load(Ordering::Relaxed) {
            Some("no generation of counters has been read")
        } else {
            None
        }
    }
}
