//! Passive mode: a classifier at TCX ingress, which runs beside an XDP program of somebody else.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use super::{
    super::{
        AttachError, XdpMode, capabilities,
        netlink::device::Device,
        pin::{Directory, LinkKind},
        sys::link::{Hook, Link},
    },
    Ingress,
    check::foreign,
    tcx,
};

/// Attaches the classifier ahead of others, which may drop or redirect what it shall count; or
/// puts it into the place of the one that a pinned link keeps there.
pub(super) fn attach(
    device: &Device,
    program: &OwnedFd,
    pins: Option<&Directory>,
) -> Result<Ingress, AttachError> {
    let failed = |source| AttachError::Pin {
        device: device.name.clone(),
        source,
    };
    let kind = LinkKind::TcxIngress;
    let taken = match pins {
        Some(pins) => {
            // Of a sensor that was not passive: each packet would be counted twice.
            pins.unpin_link(LinkKind::Xdp, device.index)
                .map_err(failed)?;
            tcx::take_over(device, kind, program.as_fd(), pins).map_err(failed)?
        }
        None => None,
    };
    let link = match taken {
        Some(link) => link,
        None => {
            let link = Link::new(program.as_fd(), device.index, Hook::TcxIngress)
                .map_err(|error| refusal(device, error))?;
            if let Some(pins) = pins {
                pins.pin_link(&link, kind, device.index).map_err(failed)?;
            }
            link
        }
    };
    tell(device);
    Ok(Ingress {
        link,
        mode: XdpMode::Passive,
        frags: true,
        fallback: None,
    })
}

/// What is not seen is told once, where it begins not to be seen.
fn tell(device: &Device) {
    let now = Device::by_index(device.index).ok().flatten();
    let name = device.name.as_str();
    match now.and_then(|now| now.xdp) {
        Some(xdp) => tracing::info!(
            device = name,
            program = foreign(xdp.program_id, xdp.mode),
            "Passive, behind another XDP program: what it drops, redirects or answers is not \
             counted, and nothing is stopped here"
        ),
        None => tracing::info!(device = name, "Passive: nothing is stopped here"),
    }
}

fn refusal(device: &Device, source: io::Error) -> AttachError {
    let name = device.name.clone();
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => AttachError::Capabilities {
            device: name,
            missing: capabilities::explain_refusal(&[capabilities::BPF, capabilities::NET_ADMIN]),
        },
        Some(libc::ENODEV) => AttachError::NoDevice {
            device: name,
            hint: String::new(),
        },
        _ => AttachError::Passive {
            device: name,
            source,
        },
    }
}
