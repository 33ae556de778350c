//! Devices that come, go and are renamed: what the engine, the metrics and systemd learn of them.

use super::Live;
use crate::{
    bpf::{Attachment, DeviceChange, Egress},
    daemon::{stats, systemd},
    metrics::Device,
};

impl Live {
    /// Says what was found of a sensor before this one.
    pub(super) fn tell_takeover(&self) {
        let Some(taken) = self.snapshot.takeover else {
            return;
        };
        let unattended_seconds = taken.unattended.as_secs_f64();
        tracing::info!(unattended_seconds, "Took over the pinned data plane");
        if taken.replaced {
            tracing::warn!(
                "Its maps have other layouts or sizes: they are replaced, and read once"
            );
        }
        if taken.lost_packets > 0 {
            tracing::error!(
                packets = taken.lost_packets,
                "Counted by a version whose records this one cannot read: they are in no flow"
            );
        }
        if taken.untold_packets > 0 {
            tracing::warn!(
                packets = taken.untold_packets,
                "The sensor before had counted them and ended before their flows: they are in no \
                 event"
            );
        }
    }

    pub(super) fn attached(&mut self, attachment: &Attachment) {
        let Attachment {
            device,
            ifindex,
            mode,
            egress,
            ..
        } = attachment;
        tracing::info!(
            device,
            mode = mode.as_str(),
            egress = egress.as_str(),
            "Attached"
        );
        if let Some(reason) = &attachment.fallback {
            tracing::warn!(
                device,
                "Generic XDP, because native mode failed ({reason}): packets that GRO merges \
                 count as one"
            );
        }
        if let Egress::None(reason) = egress {
            tracing::warn!(device, "Only received packets are counted: {reason}");
        }
        let entry = self.snapshot.devices.entry(device.clone()).or_default();
        *entry = Device {
            mode: Some(*mode),
            tap: attachment.tap,
            ..*entry
        };
        self.engine.set_interface(*ifindex, device);
        self.interfaces.insert(*ifindex, device.as_str().into());
    }

    pub(super) fn follow_devices(&mut self) {
        for change in self.plane.follow_devices() {
            match change {
                DeviceChange::Returned(attachment) => self.attached(&attachment),
                DeviceChange::Vanished { device, ifindex } => {
                    tracing::warn!(device, ifindex, "The interface is gone: waiting for it");
                    self.snapshot.devices.entry(device).or_default().mode = None;
                }
                DeviceChange::Failed { device, reason } => {
                    tracing::error!(device, "The interface is back, but: {reason}");
                }
                DeviceChange::Renamed { from, to, ifindex } => {
                    tracing::info!(from, to, ifindex, "The interface was renamed");
                    let old = self.snapshot.devices.entry(from).or_default();
                    let (mode, tap) = (old.mode.take(), old.tap);
                    old.renamed = true;
                    let new = self.snapshot.devices.entry(to.clone()).or_default();
                    *new = Device {
                        mode,
                        tap,
                        renamed: false,
                        ..*new
                    };
                    self.engine.set_interface(ifindex, &to);
                    self.interfaces.insert(ifindex, to.into());
                }
            }
        }
        let attached = self.plane.attachments().count();
        self.health
            .set_attached(attached >= self.config.interfaces.len());
        systemd::status(&stats::line(&self.snapshot, attached));
    }
}
