//! Devices that vanish, come back or are renamed.
//!
//! The kernel takes a link off a device that goes away, and the link then says so: no device that
//! was deleted and made again in between, under the same name or index, is mistaken for the old
//! one.

use super::{
    super::{DeviceChange, netlink::device::Device, slots::Slots},
    Attached, Installer, attach,
};

/// Looks at every attached device once.
pub(in super::super) fn follow(
    all: &mut [Attached],
    installer: Installer<'_>,
    slots: &mut Slots,
    epoch: u64,
) -> Vec<DeviceChange> {
    let mut changes = Vec::new();
    for attached in all {
        if let Some(change) = lost_or_renamed(attached, installer, slots, epoch) {
            changes.push(change);
        }
        if !attached.is_running() {
            changes.extend(try_again(attached, installer, slots, epoch));
        }
    }
    changes
}

fn lost_or_renamed(
    attached: &mut Attached,
    installer: Installer<'_>,
    slots: &mut Slots,
    epoch: u64,
) -> Option<DeviceChange> {
    let hooks = attached.hooks.as_ref()?;
    let ifindex = attached.attachment.ifindex;
    // A device that moved to another network namespace keeps the link and has no name here.
    let found = match hooks.ingress.ifindex() {
        Ok(Some(index)) => Device::by_index(index),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    match found {
        Err(error) => {
            let device = attached.attachment.device.as_str();
            tracing::warn!(device, %error, "Could not look after the device");
            None
        }
        Ok(None) => {
            attached.hooks = None;
            attached.failure = None;
            installer.unpin(&attached.attachment);
            slots.release(attached.slot, epoch, true);
            Some(DeviceChange::Vanished {
                device: attached.attachment.device.clone(),
                ifindex,
            })
        }
        Ok(Some(device)) if device.name != attached.attachment.device => {
            slots.rename(attached.slot, &device.name);
            let from = std::mem::replace(&mut attached.attachment.device, device.name.clone());
            Some(DeviceChange::Renamed {
                from,
                to: device.name,
                ifindex,
            })
        }
        Ok(Some(_)) => None,
    }
}

fn try_again(
    attached: &mut Attached,
    installer: Installer<'_>,
    slots: &mut Slots,
    epoch: u64,
) -> Option<DeviceChange> {
    let name = attached.attachment.device.clone();
    Device::by_name(&name).ok().flatten()?;
    match attach(&name, attached.options, installer, slots, epoch, true) {
        Ok(again) => {
            *attached = again;
            Some(DeviceChange::Returned(attached.attachment.clone()))
        }
        Err(error) => {
            let reason = error.to_string();
            if attached.failure.as_ref() == Some(&reason) {
                return None;
            }
            attached.failure = Some(reason.clone());
            Some(DeviceChange::Failed {
                device: name,
                reason,
            })
        }
    }
}
