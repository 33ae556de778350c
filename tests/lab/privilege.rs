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

/// Whether the running kernel is `major.minor` or newer.
///
/// # Panics
/// If the kernel's release does not begin with two numbers.
#[must_use]
pub fn kernel_is(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(has_major)), Some(Ok(has_minor))) => (has_major, has_minor) >= (major, minor),
        _ => panic!("a release without two numbers: {release:?}"),
    }
}

/// Whether the kernel has TCX; if not, reports the test as skipped.
#[must_use]
pub fn tcx_or_skip() -> bool {
    let has = kernel_is(6, 6);
    if !has {
        skip("needs TCX, which Linux has from 6.6 on");
    }
    has
}
