use std::io::Write as _;

/// Reports a test as skipped, with the reason. The test has to return at once.
///
/// The line goes to stderr around the test harness's capture; `cargo xtask test` counts it.
pub fn skip(reason: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("\nSKIPPED {name}: {reason}\n");
    // A lost notice must not fail a test.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Whether this process is root; if not, reports the test as skipped.
#[must_use]
pub fn root_or_skip() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let root = unsafe { libc::geteuid() == 0 };
    if !root {
        skip("needs root");
    }
    root
}
