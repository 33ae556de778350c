//! From one process to the next: what was found pinned, and what becomes of it.

use std::time::Duration;

use sensor_ebpf::abi::Settings;

use super::{
    PinError,
    load::Loaded,
    netlink::{self, device::Device},
    pin::Previous,
    slots::SlotId,
};
use crate::source::live::monotonic_ns;

/// A pinned data plane that this process has taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// For how long it had no daemon.
    pub unattended: Duration,
    /// Packets that the daemon before had drained, and whose flows were in no event when it ended:
    /// 0 if it had time to write them.
    pub untold_packets: u64,
    /// Packets that were counted by a version whose records this one cannot read.
    pub lost_packets: u64,
    /// Sample rings of replaced data planes that could not be opened: what waited in them is lost.
    pub lost_rings: u64,
    /// Layouts or sizes have changed: the maps were replaced, and the old ones are read once.
    pub replaced: bool,
}

/// What there is to be taken over: a state that is gone on with, and those that are replaced.
pub(super) fn found(loaded: &Loaded) -> Option<Takeover> {
    let own = loaded.pins.as_ref()?.found;
    let own = own.map(|head| (head.heartbeat_ns, head.untold_packets));
    let previous = loaded.previous.iter();
    let previous = previous.map(|one| (one.heartbeat_ns(), one.untold_packets()));
    let (heartbeat_ns, untold_packets) = own
        .into_iter()
        .chain(previous)
        .reduce(|one, other| (one.0.max(other.0), one.1 + other.1))?;
    Some(Takeover {
        unattended: Duration::from_nanos(monotonic_ns().saturating_sub(heartbeat_ns)),
        untold_packets,
        lost_packets: 0,
        lost_rings: loaded.lost_rings,
        replaced: !loaded.previous.is_empty(),
    })
}

/// Goes on defending what the data plane defended that is replaced: the settings to begin with.
pub(super) fn inherit(loaded: &mut Loaded) -> Settings {
    let mut settings = Settings::default();
    let readable = loaded
        .previous
        .iter()
        .filter(|previous| previous.is_readable());
    if let Some(latest) = readable.max_by_key(|previous| previous.heartbeat_ns()) {
        match loaded.guard.inherit(latest.state()) {
            Ok(mode) => settings.guard = mode,
            Err(error) => {
                tracing::warn!("What was under defence against SYN floods is so no more: {error}");
            }
        }
        settings.destinations = loaded.guard.destinations().len() as u32;
    }
    settings
}

/// Follows the devices that vanished, or got another name, while there was no daemon.
pub(super) fn catch_up(loaded: &mut Loaded) {
    let epoch = loaded.generations.epoch();
    for (slot, ifindex, name) in loaded.slots.counted() {
        match Device::by_index(ifindex) {
            Ok(Some(device)) if device.name == name => {}
            Ok(Some(device)) => {
                tracing::info!(from = name, to = device.name, "The interface was renamed");
                loaded.slots.rename(slot, &device.name);
            }
            Ok(None) => {
                tracing::warn!(device = name, "The interface has gone in the meantime");
                loaded.slots.release(slot, epoch, false);
            }
            Err(error) => {
                tracing::warn!(device = name, %error, "Could not look after the device");
            }
        }
    }
}

/// Lets go of everything pinned that is not `attached`, by slot and index; returns how many
/// packets were counted that nobody can read.
pub(super) fn settle(loaded: &mut Loaded, attached: &[(SlotId, u32)]) -> Result<u64, PinError> {
    let Some(pins) = &mut loaded.pins else {
        return Ok(0);
    };
    let epoch = loaded.generations.epoch();
    for (slot, ifindex, name) in loaded.slots.counted() {
        if attached.iter().all(|(other, _)| *other != slot) {
            tracing::info!(device = name, "Detached: it is not configured any more");
            if let Err(error) = netlink::tc::remove(ifindex) {
                tracing::debug!(device = name, %error, "Could not look for an egress filter");
            }
            pins.directory.unpin_device(ifindex)?;
            loaded.slots.release(slot, epoch, false);
        }
    }
    for ifindex in pins.directory.linked()? {
        if attached.iter().all(|(_, other)| *other != ifindex) {
            pins.directory.unpin_device(ifindex)?;
        }
    }
    pins.keep = true;
    let mut lost = 0;
    if !loaded.previous.iter().all(Previous::is_readable) {
        // Their programs have been replaced, and may still run.
        loaded
            .generations
            .wait()
            .map_err(|source| PinError::System {
                path: pins.directory.path().to_owned(),
                what: "waiting for running programs",
                source,
            })?;
        let (readable, unreadable) = std::mem::take(&mut loaded.previous)
            .into_iter()
            .partition(Previous::is_readable);
        loaded.previous = readable;
        for previous in unreadable {
            lost += previous.lost_packets()?;
            previous.remove()?;
        }
        if loaded.previous.is_empty() {
            loaded.rings.release();
        }
    }
    // This process tells of them: nothing that could end it before stands between.
    for previous in &mut loaded.previous {
        if let Err(error) = previous.told() {
            tracing::warn!("The next start will tell of the same packets again: {error}");
        }
    }
    pins.head().untold_packets = 0;
    Ok(lost)
}
