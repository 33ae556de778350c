//! What can be said of a device before attaching: for `sensor doctor`.

use super::{
    AttachError, AttachOptions,
    attach::{foreign, usable},
    netlink::device::Device,
};

/// What the kernel says of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Its index.
    pub ifindex: u32,
    /// `veth`, `bond`, `vlan`, ...; none for hardware.
    pub kind: Option<String>,
    /// It is up.
    pub up: bool,
    /// Bytes above the Ethernet header.
    pub mtu: u32,
    /// Receive queues.
    pub rx_queues: u32,
    /// Transmit queues.
    pub tx_queues: u32,
    /// The XDP program that runs there: name as far as capabilities allow, id and mode.
    pub xdp_program: Option<String>,
}

/// Looks a device up, and says whether [`super::DataPlane::attach`] would refuse it without
/// trying.
///
/// # Errors
/// [`AttachError::NoDevice`], or [`AttachError::System`] if netlink does not answer.
pub fn inspect(device: &str) -> Result<(DeviceFacts, Option<AttachError>), AttachError> {
    let found = Device::by_name(device).map_err(|source| AttachError::System {
        device: device.to_owned(),
        what: "the device could not be looked up",
        source,
    })?;
    let refusal = usable(device, AttachOptions::default(), false, None).err();
    let Some(found) = found else {
        return Err(refusal.unwrap_or_else(|| AttachError::NoDevice {
            device: device.to_owned(),
            hint: String::new(),
        }));
    };
    let facts = DeviceFacts {
        ifindex: found.index,
        kind: found.kind,
        up: found.up,
        mtu: found.mtu,
        rx_queues: found.rx_queues,
        tx_queues: found.tx_queues,
        xdp_program: found.xdp.map(|xdp| foreign(xdp.program_id, xdp.mode)),
    };
    Ok((facts, refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_described_and_refused() {
        let (facts, refusal) = inspect("lo").expect("lo exists");
        assert!(facts.ifindex > 0 && facts.rx_queues > 0);
        assert!(matches!(refusal, Some(AttachError::Loopback { .. })));
    }

    #[test]
    fn a_missing_device_is_an_error() {
        let missing = inspect("bpf-no-such").expect_err("missing");
        assert!(matches!(missing, AttachError::NoDevice { .. }));
    }
}
