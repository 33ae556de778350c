//! Each refusal is one line with a remedy, and leaves the device as it was.

use anyhow::Result;
use sensor::bpf::{AttachOptions, ModeOption};
use sensor_tests::root_or_skip;

use super::{output, pair, plane};

/// Tries to attach to `device` and gives the refusal.
fn refusal(device: &str, options: AttachOptions) -> Result<String> {
    match plane()?.attach(device, options) {
        Ok(attachment) => anyhow::bail!("attached: {attachment:?}"),
        Err(error) => Ok(error.to_string()),
    }
}

#[test]
fn each_wrong_device_gets_its_line() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let namespace = pair()?;
    namespace.ip("addr add 10.99.0.1/24 dev bpf0")?;
    namespace.ip("tuntap add bpftun mode tun")?;
    let tap = AttachOptions {
        tap: true,
        ..AttachOptions::default()
    };
    for (device, options, said) in [
        ("bpf7", AttachOptions::default(), "perhaps `bpf"),
        ("lo", AttachOptions::default(), "loopback"),
        ("bpftun", AttachOptions::default(), "no Ethernet frames"),
        ("bpf0", tap, "10.99.0.1"),
    ] {
        let line = namespace.enter(|| refusal(device, options))??;
        assert!(line.contains(said) && line.contains(device), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
    assert!(!output(&namespace, "ip", "-d link show bpf0")?.contains("xdp"));
    Ok(())
}

#[test]
fn a_device_is_attached_once() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    pair()?.enter(|| {
        let mut plane = plane()?;
        plane.attach("bpf0", AttachOptions::default())?;
        let again = plane.attach("bpf0", AttachOptions::default());
        let again = again.expect_err("attached twice").to_string();
        assert!(again.contains("attached already"), "{again}");
        let tap = AttachOptions {
            tap: true,
            ..AttachOptions::default()
        };
        let mixed = plane.attach("bpf1", tap).expect_err("mixed").to_string();
        assert!(mixed.contains("second sensor"), "{mixed}");
        assert_eq!(plane.attachments().count(), 1);
        Ok(())
    })?
}

#[test]
fn a_foreign_program_is_named_and_left_alone() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    pair()?.enter(|| {
        let mut foreign = plane()?;
        let generic = AttachOptions {
            mode: ModeOption::Generic,
            ..AttachOptions::default()
        };
        foreign.attach("bpf0", generic)?;
        let line = refusal("bpf0", AttachOptions::default())?;
        assert!(
            line.contains("sensor_xdp") && line.contains("generic"),
            "{line}"
        );
        assert!(line.contains("ip link set dev bpf0 xdp off"), "{line}");
        assert!(foreign.follow_devices().is_empty());
        Ok(())
    })?
}
