//! Whether a device can be attached, as far as that can be known without trying.

use std::io;

use super::super::{
    AttachError, AttachOptions, capabilities,
    netlink::device::Device,
    pin::{Directory, LinkKind},
};

/// Finds the device and refuses what cannot work, or would do harm. A program that a link among
/// `pins` keeps there is our own; `passive`, any program may be there.
pub(in super::super) fn usable(
    name: &str,
    options: AttachOptions,
    passive: bool,
    pins: Option<&Directory>,
) -> Result<Device, AttachError> {
    let system = |what| {
        move |source: io::Error| AttachError::System {
            device: name.to_owned(),
            what,
            source,
        }
    };
    let found = Device::by_name(name).map_err(system("the device could not be looked up"))?;
    let Some(device) = found else {
        return Err(AttachError::NoDevice {
            device: name.to_owned(),
            hint: hint(name, &Device::all().unwrap_or_default()),
        });
    };
    kind(&device, |index| {
        let other = Device::by_index(index).ok().flatten();
        other.map_or_else(|| format!("device {index}"), |other| other.name)
    })?;
    if passive && options.tap {
        return Err(AttachError::TapPassive {
            device: device.name,
        });
    }
    if !passive
        && let Some(xdp) = device.xdp
        && pinned_program(&device, pins)? != Some(xdp.program_id)
    {
        return Err(AttachError::Foreign {
            device: device.name,
            program: foreign(xdp.program_id, xdp.mode),
        });
    }
    let missing = capabilities::missing(&[capabilities::NET_ADMIN]);
    if !missing.is_empty() {
        return Err(AttachError::Capabilities {
            device: device.name,
            missing: missing.join(", "),
        });
    }
    if options.tap && !options.force_tap {
        let addresses = device
            .addresses()
            .map_err(system("its addresses could not be looked up"))?;
        if !addresses.is_empty() {
            let shown: Vec<_> = addresses.iter().take(3).map(ToString::to_string).collect();
            return Err(AttachError::TapWithAddresses {
                device: device.name,
                addresses: shown.join(", "),
            });
        }
    }
    Ok(device)
}

/// The id of the program that our pinned link keeps on the device.
fn pinned_program(device: &Device, pins: Option<&Directory>) -> Result<Option<u32>, AttachError> {
    let Some(pins) = pins else {
        return Ok(None);
    };
    let link = pins
        .link(LinkKind::Xdp, device.index)
        .map_err(|source| AttachError::Pin {
            device: device.name.clone(),
            source,
        })?;
    let id = link.map(|link| link.program_id()).transpose();
    id.map_err(|source| AttachError::System {
        device: device.name.clone(),
        what: "its pinned link could not be looked at",
        source,
    })
}

/// Kinds of devices on which XDP makes no sense.
fn kind(device: &Device, name_of: impl Fn(u32) -> String) -> Result<(), AttachError> {
    let name = device.name.clone();
    if device.loopback {
        return Err(AttachError::Loopback { device: name });
    }
    if device.kind.as_deref() == Some("vlan") {
        return Err(AttachError::Vlan {
            device: name,
            parent: device.link.map_or_else(|| "its parent".into(), name_of),
        });
    }
    if !device.is_ethernet() {
        return Err(AttachError::NotEthernet {
            device: name,
            hardware: device.hardware,
        });
    }
    match &device.master {
        Some((index, kind)) if kind == "bond" || kind == "team" => Err(AttachError::BondMember {
            device: name,
            master: name_of(*index),
        }),
        _ => Ok(()),
    }
}

/// Names the program as far as capabilities allow: its name asks for `CAP_SYS_ADMIN`.
pub(in super::super) fn foreign(id: u32, mode: &str) -> String {
    let name = aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned));
    match name {
        Some(name) => format!("`{name}` (id {id}, {mode})"),
        None => format!("with id {id} ({mode})"),
    }
}

/// The name that is nearest to the one given, if one is near.
fn hint(name: &str, devices: &[Device]) -> String {
    devices
        .iter()
        .filter(|device| !device.loopback)
        .map(|device| {
            (
                strsim::damerau_levenshtein(name, &device.name),
                &device.name,
            )
        })
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map_or_else(String::new, |(_, near)| format!("; perhaps `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ethernet() -> Device {
        Device {
            name: "eth0".into(),
            hardware: 1,
            ..Device::default()
        }
    }

    fn refusal(device: &Device) -> String {
        kind(device, |index| format!("eth{index}"))
            .map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn ordinary_devices_and_bridge_ports_are_fine() {
        assert_eq!(refusal(&ethernet()), "");
        let port = Device {
            master: Some((4, "bridge".into())),
            ..ethernet()
        };
        assert_eq!(refusal(&port), "");
    }

    #[test]
    fn each_unsuitable_kind_names_the_device_to_use() {
        let vlan = Device {
            kind: Some("vlan".into()),
            link: Some(7),
            ..ethernet()
        };
        assert!(
            refusal(&vlan).contains("attach `eth7`"),
            "{}",
            refusal(&vlan)
        );
        let member = Device {
            master: Some((8, "bond".into())),
            ..ethernet()
        };
        assert!(
            refusal(&member).contains("attach `eth8`"),
            "{}",
            refusal(&member)
        );
        let port = Device {
            master: Some((9, "team".into())),
            ..ethernet()
        };
        assert!(
            refusal(&port).contains("attach `eth9`"),
            "{}",
            refusal(&port)
        );
        let tunnel = Device {
            hardware: 0xfffe,
            ..ethernet()
        };
        assert!(refusal(&tunnel).contains("65534"), "{}", refusal(&tunnel));
        let loopback = Device {
            loopback: true,
            ..ethernet()
        };
        assert!(refusal(&loopback).contains("loopback"));
    }

    #[test]
    fn a_near_name_is_suggested() {
        let devices = [ethernet()];
        assert_eq!(hint("etho", &devices), "; perhaps `eth0`?");
        assert_eq!(hint("wlan7", &devices), "");
    }
}
