use std::time::{Duration, Instant};

/// Longest that anything in the lab may take before it counts as failed. Generous: a machine
/// that also compiles is slow, one that is emulated slower still, and a passing test never waits
/// this long.
pub const DEADLINE: Duration = Duration::from_mins(5);

/// Polls until `probe` gives a value, at most [`DEADLINE`] long.
///
/// # Errors
/// Names `what` when the time is over.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return Ok(value);
        }
        anyhow::ensure!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
