//! The egress classifier: a TCX link, else a clsact filter, else nothing and a warning.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use super::{
    super::{
        AttachOptions, Egress, EgressOption,
        load::Programs,
        netlink::{
            device::Device,
            tc::{self, Filter},
        },
        pin::{Directory, LinkKind, PinError},
        sys::{
            link::{Hook, Link, has_tcx_ingress},
            placeholder::Placeholder,
        },
    },
    tcx,
};

/// What dropping takes off.
#[derive(Debug)]
#[expect(dead_code, reason = "held for what dropping them does")]
pub(super) enum EgressHook {
    Tcx(Link),
    Clsact(Filter),
    None,
}

/// Attaches, or says why sent packets are not counted: that is no reason not to count the others.
pub(super) fn attach(
    device: &Device,
    options: AttachOptions,
    programs: &Programs,
    pins: Option<&Directory>,
) -> (Egress, EgressHook) {
    let taken = pins.map(|pins| take_over(device, options, programs, pins));
    match taken {
        Some(Ok(Some(link))) => return (Egress::Tcx, EgressHook::Tcx(link)),
        None | Some(Ok(None)) => {}
        Some(Err(error)) => {
            // It may count on, and beside another one everything twice.
            let device = device.name.as_str();
            tracing::warn!(device, "The pinned egress program stays as it was: {error}");
            return (Egress::None(error.to_string()), EgressHook::None);
        }
    }
    if options.tap {
        return nothing(device, "nothing is sent on a mirror port");
    }
    let program = programs.egress.as_fd();
    let tcx_refusal = match options.egress {
        EgressOption::Off => return nothing(device, "switched off"),
        EgressOption::Clsact => None,
        EgressOption::Auto => match by_tcx(device, program) {
            Ok(link) => {
                if let Some(pins) = pins
                    && let Err(error) = pins.pin_link(&link, LinkKind::TcxEgress, device.index)
                {
                    let device = device.name.as_str();
                    tracing::warn!(
                        device,
                        "Sent packets are counted only while this process runs: {error}"
                    );
                }
                return (Egress::Tcx, EgressHook::Tcx(link));
            }
            Err(error) => Some(error),
        },
    };
    match Filter::attach(program, device.index, pins.is_some()) {
        Ok(filter) => (Egress::Clsact, EgressHook::Clsact(filter)),
        Err(error) => {
            let reason = match tcx_refusal {
                Some(tcx) => format!("TCX: {tcx}; clsact: {error}"),
                None => format!("clsact: {error}"),
            };
            let device = device.name.as_str();
            tracing::warn!(
                device,
                reason,
                "Sent packets are not counted, only received ones"
            );
            (Egress::None(reason), EgressHook::None)
        }
    }
}

/// Sent packets are not to be counted: nor by what an earlier process has left.
fn nothing(device: &Device, reason: &str) -> (Egress, EgressHook) {
    sweep_device(device);
    (Egress::None(reason.into()), EgressHook::None)
}

/// A new TCX link. A clsact filter of an earlier process, which may be pinned and counting, stays
/// where there can be none, or where it cannot be removed; else each packet meets one of both, or in
/// between none.
fn by_tcx(device: &Device, program: BorrowedFd<'_>) -> io::Result<Link> {
    let silent = Placeholder::Classifier.load()?;
    let link = Link::new(silent.as_fd(), device.index, Hook::TcxEgress)?;
    remove_leftover(device)?;
    link.update(program)?;
    Ok(link)
}

/// Goes on with the pinned link, if there is one and it is still wanted; else takes it off.
fn take_over(
    device: &Device,
    options: AttachOptions,
    programs: &Programs,
    pins: &Directory,
) -> Result<Option<Link>, PinError> {
    if !options.tap && options.egress == EgressOption::Auto {
        let program = programs.egress.as_fd();
        return tcx::take_over(device, LinkKind::TcxEgress, program, pins);
    }
    pins.unpin_link(LinkKind::TcxEgress, device.index)?;
    Ok(None)
}

/// Removes what killed processes have left, on devices that no other sensor can be attached to: one
/// that runs, or whose data plane is pinned, has a program at XDP or, if it is passive, at TCX
/// ingress. Where such a program is somebody else's, what is left stays until a sensor attaches to
/// the device.
pub(in crate::bpf) fn sweep() {
    match Device::all() {
        Ok(devices) => devices
            .iter()
            .filter(|device| device.xdp.is_none() && !has_classifier(device))
            .for_each(sweep_device),
        Err(error) => tracing::warn!(%error, "Could not look for old egress filters"),
    }
}

fn sweep_device(device: &Device) {
    if let Err(error) = remove_leftover(device) {
        let device = device.name.as_str();
        tracing::warn!(device, %error, "An old egress filter may be left");
    }
}

/// Whether a classifier is at TCX ingress; also if that cannot be told.
fn has_classifier(device: &Device) -> bool {
    has_tcx_ingress(device.index).unwrap_or_else(|error| {
        let device = device.name.as_str();
        tracing::debug!(device, %error, "An old egress filter would stay here");
        true
    })
}

/// A filter of an earlier process would count every packet a second time: into maps that nobody
/// reads, or that are gone on with.
fn remove_leftover(device: &Device) -> io::Result<()> {
    match tc::remove(device.index) {
        Ok(false) => Ok(()),
        Ok(true) => {
            let device = device.name.as_str();
            tracing::info!(device, "Removed the egress filter of an earlier process");
            Ok(())
        }
        // It has gone meanwhile, or its device has, and its filters with it.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => Ok(()),
        Err(error) => Err(error),
    }
}
