//! The BPF programs on a second kernel: each verifier refuses other things, and one that is older
//! than the build machine's knows less.
//!
//! Debian's own kernel boots in an emulator without network or disk, with the integration tests'
//! binary in its initial RAM file system. The guest's console is the tests' output.

mod guest;
mod kernel;

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::libtest::{self, Built};
use super::tally::Tally;
use crate::command::{find, program};
use kernel::Kernel;

/// The word that chooses this stage on `cargo xtask test`'s command line.
pub(super) const STAGE: &str = "second-kernel";

/// Ends a guest that is stuck. A usual run takes a few minutes.
const DEADLINE: Duration = Duration::from_mins(20);

/// Tests that run there. Each program is loaded and does its work, and so is each way out of the
/// programs that depends on the kernel's version: cookies, ring buffers, TCX or clsact. The daemon
/// starts, counts, is asked, is flooded and ends. A pinned data plane is taken over, and lists name the
/// entry that they have hit. Floods that last are too much for an emulated machine.
const TESTS: [&str; 15] = [
    "attach::killed::with_clsact_the_next_start_removes_what_is_left",
    "attach::modes::clsact_is_removed_with_its_filter_unless_others_use_it",
    "attach::modes::native_with_frags_also_on_jumbo_frames",
    "attach::modes::sent_packets_are_counted_with_and_without_tcx",
    "daemon::guard::a_flood_is_met_told_and_over",
    "e2e::counts::ipv4_packets_and_bytes_are_the_kernels",
    "e2e::lifecycle::sigterm_detaches_and_flushes",
    "kernel::egress::a_gso_frame_counts_as_its_segments",
    "kernel::guard::cookie::a_syn_to_a_listener_is_answered_by_a_cookie",
    "kernel::guard::retransmission::the_first_syn_is_dropped_and_its_retransmission_passes",
    "kernel::guard::state::the_self_test_shows_that_cookies_work",
    "kernel::sampling::the_first_packets_of_a_flow_come_with_their_numbers",
    "kernel::verdicts::a_packet_passes_and_is_counted_with_and_without_multi_buffer_support",
    "lifecycle::takeover::what_was_counted_before_and_in_between_is_read",
    "lists::time::hits_and_reasons_name_the_entry",
];

/// Runs [`TESTS`] on the second kernel, with the binaries that were built.
pub(super) fn run(built: &Built, tally: &mut Tally) {
    eprintln!("=== {STAGE}");
    let missing = obstacle(std::env::consts::ARCH, |name| find(name).is_some());
    stage(
        missing,
        kernel::fetch,
        |kernel, inside| boot(kernel, built, inside),
        tally,
    );
}

/// The stage, whatever stands in its way.
fn stage(
    obstacle: Option<String>,
    fetch: impl FnOnce() -> Result<Kernel>,
    boot: impl FnOnce(&Kernel, &mut Tally) -> Result<()>,
    tally: &mut Tally,
) {
    if let Some(reason) = obstacle {
        return tally.skip(STAGE, &reason);
    }
    let kernel = match fetch() {
        Ok(kernel) => kernel,
        Err(error) => return tally.skip(STAGE, &format!("no kernel to boot: {error:#}")),
    };
    eprintln!("=== {STAGE}: Linux {}", kernel.release);
    let mut inside = Tally::default();
    if let Err(error) = boot(&kernel, &mut inside) {
        inside.fail(STAGE, &format!("{error:#}"));
    }
    tally.add(&format!("on Linux {}", kernel.release), inside);
}

/// Why no guest can run on a machine of this architecture with the programs that it `has`.
fn obstacle(architecture: &str, has: impl Fn(&str) -> bool) -> Option<String> {
    if architecture != "x86_64" {
        return Some("the guest is an x86-64 machine, and runs this machine's programs".to_owned());
    }
    let needed = [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
        ("cpio", "cpio"),
        ("strip", "binutils"),
    ];
    let package = |name| {
        if name == "ethtool" {
            "ethtool"
        } else {
            "iproute2"
        }
    };
    let missing = needed
        .into_iter()
        .chain(guest::PROGRAMS.map(|name| (name, package(name))))
        .find(|(name, _)| !has(name));
    missing.map(|(name, package)| format!("{name} is not installed (package {package})"))
}

/// Boots, and counts what the tests inside say.
fn boot(kernel: &Kernel, built: &Built, tally: &mut Tally) -> Result<()> {
    let initramfs = guest::pack(kernel, built, &TESTS)?;
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

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn kernel() -> Kernel {
        Kernel {
            release: "6.1.0".to_owned(),
            image: "vmlinuz".into(),
            modules: Vec::new(),
        }
    }

    fn counts(tally: &Tally) -> [i64; 3] {
        [tally.passed, tally.failed, tally.skipped]
    }

    #[test]
    fn what_a_machine_lacks_is_named_with_its_package() {
        assert_eq!(obstacle("x86_64", |_| true), None);
        let lacks = |missing: &'static str| obstacle("x86_64", move |name| name != missing);
        for (name, package) in [
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("ethtool", "ethtool"),
            ("tc", "iproute2"),
        ] {
            let reason = lacks(name).expect("an obstacle");
            assert!(
                reason.contains(name) && reason.contains(package),
                "{reason}"
            );
        }
        assert!(obstacle("aarch64", |_| true).is_some_and(|reason| reason.contains("x86-64")));
    }

    #[test]
    fn a_machine_without_a_guest_skips_the_stage_and_a_guest_that_dies_fails_it() {
        let mut tally = Tally::default();
        let never = |_: &Kernel, _: &mut Tally| unreachable!("there is nothing to boot");
        let lacking = Some("no emulator".to_owned());
        stage(lacking, || unreachable!("for nobody"), never, &mut tally);
        assert_eq!(counts(&tally), [0, 0, 1]);
        stage(None, || Err(anyhow!("no network")), never, &mut tally);
        assert_eq!(counts(&tally), [0, 0, 2]);
        let dies = |_: &Kernel, inside: &mut Tally| {
            inside.passed += 3;
            Err(anyhow!("it died"))
        };
        stage(None, || Ok(kernel()), dies, &mut tally);
        assert_eq!(counts(&tally), [3, 1, 2]);
    }
}
