//! The egress classifier: a TCX link, else a clsact filter, else nothing and a warning.

use std::os::fd::AsFd as _;

use super::super::{
    AttachOptions, Egress, EgressOption,
    load::Programs,
    netlink::{device::Device, tc::Filter},
    sys::link::{Hook, Link},
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
) -> (Egress, EgressHook) {
    if options.tap {
        return (
            Egress::None("nothing is sent on a mirror port".into()),
            EgressHook::None,
        );
    }
    let program = programs.egress.as_fd();
    let tcx_refusal = match options.egress {
        EgressOption::Off => {
            return (Egress::None("switched off".into()), EgressHook::None);
        }
        EgressOption::Clsact => None,
        EgressOption::Auto => match Link::new(program, device.index, Hook::TcxEgress) {
            Ok(link) => {
                remove_leftover(device);
                return (Egress::Tcx, EgressHook::Tcx(link));
            }
            Err(error) => Some(error),
        },
    };
    match Filter::attach(program, device.index) {
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

/// A filter of a process that was killed would count every packet a second time, into maps that
/// nobody reads.
fn remove_leftover(device: &Device) {
    match super::super::netlink::tc::remove(device.index) {
        Ok(false) => {}
        Ok(true) => {
            let device = device.name.as_str();
            tracing::info!(
                device,
                "Removed the egress filter of a process that was killed"
            );
        }
        Err(error) => {
            let device = device.name.as_str();
            tracing::warn!(device, %error, "Could not look for an old egress filter");
        }
    }
}
