//! Passive mode: a classifier at TCX ingress, which runs beside an XDP program of somebody else.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use super::{
    super::{
        AttachError, XdpMode, capabilities,
        netlink::device::Device,
        pin::{Directory, LinkKind},
        sys::{
            link::{Hook, Link},
            placeholder::Placeholder,
        },
    },
    Ingress,
    check::foreign,
    handover::{Handover, placeholder},
    tcx,
};

/// Attaches the classifier ahead of others, which may drop or redirect what it shall count; or
/// puts it into the place of what a pinned link keeps there.
pub(super) fn attach(
    device: &Device,
    program: &OwnedFd,
    pins: Option<&Directory>,
) -> Result<Ingress, AttachError> {
    let link = match pins {
        Some(pins) => pinned(device, program.as_fd(), pins)?,
        None => new(device, program.as_fd())?,
    };
    tell(device);
    Ok(Ingress {
        link,
        mode: XdpMode::Passive,
        frags: true,
        fallback: None,
    })
}

fn pinned(device: &Device, program: BorrowedFd<'_>, pins: &Directory) -> Result<Link, AttachError> {
    let failed = |source| AttachError::Pin {
        device: device.name.clone(),
        source,
    };
    let kind = LinkKind::TcxIngress;
    let put = |program| {
        if let Some(link) = tcx::take_over(device, kind, program, pins).map_err(failed)? {
            return Ok(link);
        }
        let link = new(device, program)?;
        pins.pin_link(&link, kind, device.index).map_err(failed)?;
        Ok(link)
    };
    let Some(from) = Handover::find(pins, device.index, LinkKind::Xdp).map_err(failed)? else {
        return put(program);
    };
    let silent = placeholder(device, Placeholder::Classifier)?;
    let link = put(silent.as_fd())?;
    from.complete(device, &link, kind, program)?;
    Ok(link)
}

fn new(device: &Device, program: BorrowedFd<'_>) -> Result<Link, AttachError> {
    Link::new(program, device.index, Hook::TcxIngress).map_err(|error| refusal(device, error))
}

/// Tries whether the device takes a classifier, with one that does nothing.
pub(in super::super) fn check(
    device: &Device,
    pins: Option<&Directory>,
) -> Result<(), AttachError> {
    let kind = LinkKind::TcxIngress;
    let link = pins.map(|pins| pins.link(kind, device.index)).transpose();
    let link = link.map_err(|source| AttachError::Pin {
        device: device.name.clone(),
        source,
    })?;
    if link.flatten().is_some() {
        return Ok(());
    }
    let silent = placeholder(device, Placeholder::Classifier)?;
    new(device, silent.as_fd()).map(drop)
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
