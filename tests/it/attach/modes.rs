//! Modes, variants and hooks that can be had on a veth.

use std::net::UdpSocket;

use anyhow::Result;
use sensor::bpf::{AttachOptions, Egress, EgressOption, ModeOption, XdpMode};
use sensor::source::live::Clock;
use sensor_ebpf::abi::Direction;
use sensor_tests::{kernel_is, root_or_skip};

use super::{output, pair, plane};

#[test]
fn native_with_frags_also_on_jumbo_frames() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let namespace = pair()?;
    namespace.ip("link set bpf0 mtu 9000")?;
    namespace.ip("link set bpf1 mtu 9000")?;
    namespace.enter(|| {
        let mut plane = plane()?;
        let attachment = plane.attach("bpf0", AttachOptions::default())?;
        assert_eq!((attachment.mode, attachment.frags), (XdpMode::Native, true));
        assert_eq!(
            (attachment.fallback, attachment.egress),
            (None, best_egress())
        );
        assert!(
            plane
                .programs()
                .iter()
                .all(|program| program.verified_instructions > 0)
        );
        Ok(())
    })?
}

#[test]
fn a_driver_without_native_mode_falls_back_and_says_why() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let namespace = pair()?;
    // A bridge has no native XDP.
    namespace.ip("link add bpfbridge type bridge")?;
    namespace.ip("link set bpfbridge up")?;
    namespace.enter(|| {
        let mut plane = plane()?;
        let attachment = plane.attach("bpfbridge", AttachOptions::default())?;
        assert_eq!(attachment.mode, XdpMode::Generic);
        let reason = attachment.fallback.expect("a reason");
        assert!(reason.contains("native"), "{reason}");
        plane.detach("bpfbridge");

        let native = AttachOptions {
            mode: ModeOption::Native,
            ..AttachOptions::default()
        };
        let refused = plane
            .attach("bpfbridge", native)
            .expect_err("no native mode");
        assert!(refused.to_string().contains("native mode"), "{refused}");
        Ok(())
    })?
}

#[test]
fn a_mirror_port_is_promiscuous_while_attached() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let namespace = pair()?;
    let promiscuity = || output(&namespace, "ip", "-d link show bpf0");
    namespace.enter(|| {
        let mut plane = plane()?;
        let tap = AttachOptions {
            tap: true,
            ..AttachOptions::default()
        };
        let attachment = plane.attach("bpf0", tap)?;
        assert!(attachment.tap && matches!(attachment.egress, Egress::None(_)));
        assert!(promiscuity()?.contains("promiscuity 1"));
        assert!(plane.detach("bpf0"));
        assert!(!plane.detach("bpf0"));
        assert!(promiscuity()?.contains("promiscuity 0"));
        Ok(())
    })?
}

#[test]
fn clsact_is_removed_with_its_filter_unless_others_use_it() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let namespace = pair()?;
    let clsact = AttachOptions {
        egress: EgressOption::Clsact,
        ..AttachOptions::default()
    };
    let attach_and_drop = || {
        namespace.enter(|| {
            let mut plane = plane()?;
            let attachment = plane.attach("bpf0", clsact)?;
            assert_eq!(attachment.egress, Egress::Clsact);
            let filters = output(&namespace, "tc", "filter show dev bpf0 egress")?;
            assert!(filters.contains("sensor_egress"), "{filters}");
            anyhow::Ok(())
        })?
    };
    attach_and_drop()?;
    assert!(!output(&namespace, "tc", "qdisc show dev bpf0")?.contains("clsact"));

    // A qdisc that was there before stays.
    output(&namespace, "tc", "qdisc add dev bpf0 clsact")?;
    attach_and_drop()?;
    assert!(output(&namespace, "tc", "qdisc show dev bpf0")?.contains("clsact"));
    assert_eq!(output(&namespace, "tc", "filter show dev bpf0 egress")?, "");
    Ok(())
}

#[test]
fn sent_packets_are_counted_with_and_without_tcx() -> Result<()> {
    const SENT: u64 = 20;
    if !root_or_skip() {
        return Ok(());
    }
    let namespace = pair()?;
    namespace.ip("address add 192.0.2.1/24 dev bpf0")?;
    namespace.ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev bpf0 nud permanent")?;
    namespace.enter(|| {
        let mut plane = plane()?;
        let clock = Clock::start();
        let automatic = plane.attach("bpf0", AttachOptions::default())?;
        assert_eq!(automatic.egress, best_egress());
        let socket = UdpSocket::bind("192.0.2.1:0")?;
        for _ in 0..SENT {
            socket.send_to(b"sent", "192.0.2.2:9")?;
        }
        let generation = plane.close_generation(&clock)?;
        let sent = generation
            .devices
            .iter()
            .find(|device| device.device == "bpf0" && device.direction == Direction::Egress)
            .expect("totals of what bpf0 sent");
        // The kernel sends a few packets of its own, such as router solicitations.
        assert!(sent.totals.runs >= SENT, "{sent:?}");
        assert!(sent.flows.packets.iter().sum::<u64>() >= SENT, "{sent:?}");
        assert_eq!(sent.difference, 0, "{sent:?}");
        Ok(())
    })?
}

/// The best that this kernel has.
fn best_egress() -> Egress {
    if kernel_is(6, 6) {
        Egress::Tcx
    } else {
        Egress::Clsact
    }
}
