//! Devices that are renamed, vanish and come back.

use anyhow::Result;
use sensor::{
    bpf::{AttachOptions, DeviceChange},
    source::live::Clock,
};
use sensor_tests::root_or_skip;

use super::{pair, plane};

#[test]
fn a_device_is_followed_through_its_life() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let namespace = pair()?;
    namespace.enter(|| {
        let mut plane = plane()?;
        let clock = Clock::start();
        let first = plane.attach("bpf0", AttachOptions::default())?;
        assert_eq!(plane.follow_devices(), []);

        namespace.ip("link set bpf0 down")?;
        namespace.ip("link set bpf0 name bpfnew")?;
        let renamed = DeviceChange::Renamed {
            from: "bpf0".into(),
            to: "bpfnew".into(),
            ifindex: first.ifindex,
        };
        assert_eq!(plane.follow_devices(), [renamed]);

        namespace.ip("link del bpfnew")?;
        let vanished = DeviceChange::Vanished {
            device: "bpfnew".into(),
            ifindex: first.ifindex,
        };
        assert_eq!(plane.follow_devices(), [vanished]);
        assert_eq!(plane.follow_devices(), []);
        assert_eq!(plane.attachments().count(), 0);
        plane.close_generation(&clock)?;

        // Deleted and made again between two looks: vanished and returned at once.
        for _ in 0..2 {
            namespace.ip("link add bpfnew type veth peer name bpf2")?;
            let changes = plane.follow_devices();
            let Some(DeviceChange::Returned(again)) = changes.last() else {
                anyhow::bail!("not attached again: {changes:?}");
            };
            assert_eq!(again.device, "bpfnew");
            assert_ne!(again.ifindex, first.ifindex);
            assert_eq!(plane.attachments().next(), Some(again));
            namespace.ip("link del bpfnew")?;
        }
        // One slot for all its lives.
        let generation = plane.close_generation(&clock)?;
        assert!(
            generation
                .devices
                .iter()
                .all(|device| device.device == "bpfnew")
        );
        assert_eq!(generation.devices.len(), 2);
        Ok(())
    })?
}
