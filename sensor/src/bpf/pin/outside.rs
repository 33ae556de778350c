//! A pinned data plane as whoever does not drive it sees it: `sensor status`, `doctor`, `detach`.

use std::{io, path::Path, time::Duration};

use sensor_ebpf::abi::map;

use super::{
    super::{
        netlink,
        sys::map::{Array, PerCpuHeads},
    },
    Directory, Found, Head, PinError, State,
    directory::states,
};
use crate::source::live::monotonic_ns;

/// What is pinned in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Names of the devices that the programs run on.
    pub devices: Vec<String>,
    /// Time since the daemon's last sign of life; about a second where one runs.
    pub unattended: Duration,
    /// Packets that were counted and that no daemon has read: what detaching would lose.
    pub unread_packets: u64,
}

impl Pinned {
    /// Reads what is pinned in the folder `path`; `None` if nothing is. Asks for no lock.
    ///
    /// # Errors
    /// [`PinError`] if the folder cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>, PinError> {
        if !path.exists() {
            return Ok(None);
        }
        look(path, &states(path)?)
    }

    /// Takes the programs off all devices and removes all that is pinned in the folder `path`;
    /// `None` if nothing was. Works where no daemon runs.
    ///
    /// # Errors
    /// [`PinError::Busy`] if one does, or that something could not be removed.
    pub fn remove(path: &Path) -> Result<Option<Self>, PinError> {
        let Some(directory) = Directory::existing(path)? else {
            return Ok(None);
        };
        let states = states(path)?;
        // Off the devices first: from then on the numbers stand.
        for ifindex in directory.linked()? {
            directory.unpin_device(ifindex)?;
        }
        for ifindex in states.iter().flat_map(devices_of) {
            match netlink::tc::remove(ifindex) {
                Err(error) if error.raw_os_error() != Some(libc::ENODEV) => {
                    tracing::warn!(ifindex, %error, "Could not look for an egress filter");
                }
                _ => {}
            }
        }
        let found = look(path, &states)?;
        directory.remove()?;
        Ok(found)
    }
}

fn look(path: &Path, states: &[State]) -> Result<Option<Pinned>, PinError> {
    let mut heartbeat_ns = None;
    let mut devices = Vec::new();
    let mut unread_packets = 0;
    for state in states {
        let head = match state.meta()? {
            Found::Unfinished => continue,
            Found::Other(head) => head,
            Found::Known(meta) => {
                for index in meta.indices.iter().filter(|index| index.is_counted()) {
                    let device = meta.devices.get((index.slot as usize).wrapping_sub(1));
                    devices.extend(device.and_then(|device| device.name()).map(str::to_owned));
                }
                meta.head
            }
        };
        heartbeat_ns = heartbeat_ns.max(Some(head.heartbeat_ns));
        unread_packets += unread_runs(state, &head)
            .map_err(|source| PinError::system(path, "its counters could not be read", source))?;
    }
    devices.sort_unstable();
    devices.dedup();
    Ok(heartbeat_ns.map(|heartbeat_ns| Pinned {
        devices,
        unattended: Duration::from_nanos(monotonic_ns().saturating_sub(heartbeat_ns)),
        unread_packets,
    }))
}

/// Indices of the devices that a state counts.
fn devices_of(state: &State) -> Vec<u32> {
    match state.meta() {
        Ok(Found::Known(meta)) => {
            let counted = meta.indices.iter().filter(|index| index.is_counted());
            counted.map(|index| index.ifindex).collect()
        }
        _ => Vec::new(),
    }
}

/// Packets that were counted into generations that nobody has recorded.
pub(super) fn unread_runs(state: &State, head: &Head) -> io::Result<u64> {
    let Some(totals) = state.open(map::TOTALS)? else {
        return Ok(0);
    };
    let mut totals = PerCpuHeads::new(totals)?;
    let half = totals.len() / 2;
    let mut runs = 0;
    let epoch = epoch(state)?;
    for generation in (head.recorded + 1..=epoch).rev().take(2) {
        let first = (generation & 1) as u32 * half;
        for index in first..first + half {
            runs += totals.sum(index)?;
        }
    }
    Ok(runs)
}

/// Number of the generation that a state counts into.
pub(super) fn epoch(state: &State) -> io::Result<u64> {
    match state.open(map::EPOCH)? {
        Some(map) => Array::new(map)?.get(0),
        None => Ok(0),
    }
}
