//! The BPF programs on a second kernel: each verifier refuses other things, and one that is older
//! than the build machine's knows less.
//!
//! Debian's own kernel boots in an emulator without network or disk, with the integration tests'
//! binary in its initial RAM file system. The guest's console is the tests' output.

mod guest;
mod kernel;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{libtest, tally::Tally};
use crate::command::{find, program};

/// The word that chooses this stage on `cargo xtask test`'s command line.
pub(super) const STAGE: &str = "second-kernel";

/// Ends a guest that is stuck. A usual run takes a few minutes.
const DEADLINE: Duration = Duration::from_mins(20);

/// Tests that run there. Each program is loaded and does its work, and so is each way out of the
/// programs that depends on the kernel's version: cookies, ring buffers, TCX or clsact.
const TESTS: [&str; 8] = [
    "attach::modes::clsact_is_removed_with_its_filter_unless_others_use_it",
    "attach::modes::sent_packets_are_counted_with_and_without_tcx",
    "kernel::egress::a_gso_frame_counts_as_its_segments",
    "kernel::guard::cookie::a_syn_to_a_listener_is_answered_by_a_cookie",
    "kernel::guard::retransmission::the_first_syn_is_dropped_and_its_retransmission_passes",
    "kernel::guard::state::the_self_test_shows_that_cookies_work",
    "kernel::sampling::the_first_packets_of_a_flow_come_with_their_numbers",
    "kernel::verdicts::a_packet_passes_and_is_counted_with_and_without_multi_buffer_support",
];

/// Runs [`TESTS`] on the second kernel, with the integration tests' binary.
pub(super) fn run(integration: &Path, tally: &mut Tally) {
    eprintln!("=== {STAGE}");
    if let Some(reason) = obstacle() {
        return tally.skip(STAGE, &reason);
    }
    let kernel = match kernel::fetch() {
        Ok(kernel) => kernel,
        Err(error) => return tally.skip(STAGE, &format!("no kernel to boot: {error:#}")),
    };
    eprintln!("=== {STAGE}: Linux {}", kernel.release);
    let mut inside = Tally::default();
    if let Err(error) = boot(&kernel, integration, &mut inside) {
        inside.fail(STAGE, &format!("{error:#}"));
    }
    tally.add(&format!("on Linux {}", kernel.release), inside);
}

/// Why no guest can run on this machine.
fn obstacle() -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some("the guest is an x86-64 machine, and runs this machine's programs".to_owned());
    }
    let missing = [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
        ("cpio", "cpio"),
        ("ip", "iproute2"),
    ]
    .into_iter()
    .find(|(name, _)| find(name).is_none());
    missing.map(|(name, package)| format!("{name} is not installed (package {package})"))
}

/// Boots, and counts what the tests inside say.
fn boot(kernel: &kernel::Kernel, integration: &Path, tally: &mut Tally) -> Result<()> {
    let initramfs = guest::pack(kernel, integration, &TESTS)?;
    let mut machine = program("qemu-system-x86_64");
    machine
        // Emulated: a machine for tests is often a virtual one, which has no KVM to give.
        .args(["-accel", "tcg,thread=multi", "-cpu", "max"])
        .args(["-smp", "2", "-m", "2048"])
        .args(["-nodefaults", "-no-user-config", "-nic", "none"])
        .args(["-display", "none", "-serial", "stdio", "-no-reboot"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&initramfs)
        // Warnings of the kernel would cut through libtest's lines.
        .args(["-append", "console=ttyS0 quiet loglevel=1 panic=-1"])
        .stdin(Stdio::null());
    libtest::run_until(&mut machine, Instant::now() + DEADLINE, tally)?;
    let told = tally.passed + tally.failed + tally.skipped;
    if told != i64::try_from(TESTS.len())? {
        bail!(
            "{told} of {} tests told how they ended: the guest died, or a test was renamed",
            TESTS.len()
        );
    }
    Ok(())
}
