//! What `kill -9` leaves behind: nothing, or for clsact what the next start removes.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result};
use sensor::bpf::{AttachOptions, EgressOption};
use sensor_tests::{Namespace, root_or_skip, tcx_or_skip};

use super::{output, pair, plane};

/// Tells the child which egress hook to use.
const EGRESS: &str = "SENSOR_TEST_HOLD_EGRESS";
const ATTACHED: &str = "attached";

/// Not a test of its own: the process that the others kill.
#[test]
#[ignore = "started by the other tests of this module as the process to be killed"]
fn hold_the_device() -> Result<()> {
    let egress = match std::env::var(EGRESS).as_deref() {
        Ok("tcx") => EgressOption::Auto,
        Ok("clsact") => EgressOption::Clsact,
        _ => anyhow::bail!("{EGRESS} is not set: this is no test of its own"),
    };
    let mut plane = plane()?;
    let options = AttachOptions {
        egress,
        ..AttachOptions::default()
    };
    plane.attach("bpf0", options)?;
    println!("{ATTACHED}");
    loop {
        std::thread::park();
    }
}

/// Starts a process that holds the device.
fn holder(namespace: &Namespace, egress: &str) -> Result<Child> {
    let mut child = namespace
        .command(std::env::current_exe()?)
        .args([
            "--ignored",
            "--exact",
            "attach::killed::hold_the_device",
            "--nocapture",
        ])
        .env(EGRESS, egress)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("no pipe")?;
    for line in BufReader::new(stdout).lines() {
        if line?.contains(ATTACHED) {
            return Ok(child);
        }
    }
    let status = child.wait()?;
    anyhow::bail!("the holder ended without attaching: {status}");
}

#[test]
fn with_tcx_nothing_is_left() -> Result<()> {
    if !root_or_skip() || !tcx_or_skip() {
        return Ok(());
    }
    let namespace = pair()?;
    let mut child = holder(&namespace, "tcx")?;
    assert!(output(&namespace, "ip", "-d link show bpf0")?.contains("prog/xdp"));
    child.kill()?;
    child.wait()?;
    // The kernel frees links after a process, but not before it is reaped.
    sensor_tests::until("the XDP program to go", || {
        let shown = output(&namespace, "ip", "-d link show bpf0").ok()?;
        (!shown.contains("prog/xdp")).then_some(())
    })?;
    assert!(!output(&namespace, "tc", "qdisc show dev bpf0")?.contains("clsact"));
    Ok(())
}

#[test]
fn with_clsact_the_next_start_removes_what_is_left() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let namespace = pair()?;
    let mut child = holder(&namespace, "clsact")?;
    child.kill()?;
    child.wait()?;
    sensor_tests::until("the XDP program to go", || {
        let shown = output(&namespace, "ip", "-d link show bpf0").ok()?;
        (!shown.contains("prog/xdp")).then_some(())
    })?;
    let left = output(&namespace, "tc", "filter show dev bpf0 egress")?;
    assert!(left.contains("sensor_egress"), "{left}");

    // A start that does not even attach there is enough.
    namespace.enter(|| plane().map(drop))??;
    assert_eq!(output(&namespace, "tc", "filter show dev bpf0 egress")?, "");
    assert!(!output(&namespace, "tc", "qdisc show dev bpf0")?.contains("clsact"));
    Ok(())
}

#[test]
fn a_running_neighbours_filter_is_left_alone() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let namespace = pair()?;
    let mut child = holder(&namespace, "clsact")?;
    let looked = namespace.enter(|| plane().map(drop));
    let filters = output(&namespace, "tc", "filter show dev bpf0 egress");
    child.kill()?;
    child.wait()?;
    looked??;
    assert!(filters?.contains("sensor_egress"));
    Ok(())
}
