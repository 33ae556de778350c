//! XDP: native if it can be, generic with a warning otherwise.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use super::{
    super::{
        AttachError, ModeOption, XdpMode, capabilities,
        load::Programs,
        netlink::device::Device,
        sys::link::{Hook, Link},
    },
    check::foreign,
};

/// The XDP program on a device.
#[derive(Debug)]
pub(super) struct Xdp {
    pub(super) link: Link,
    pub(super) mode: XdpMode,
    pub(super) frags: bool,
    pub(super) fallback: Option<String>,
}

/// One attempt of the ladder.
struct Rung<'a> {
    mode: XdpMode,
    frags: bool,
    program: BorrowedFd<'a>,
}

/// Climbs down from what is best: native before generic, multi-buffer before linear. The kernel
/// itself would choose generic mode without a word.
pub(super) fn attach(
    device: &Device,
    wanted: ModeOption,
    programs: &Programs,
) -> Result<Xdp, AttachError> {
    let modes: &[XdpMode] = match wanted {
        ModeOption::Auto => &[XdpMode::Native, XdpMode::Generic],
        ModeOption::Native => &[XdpMode::Native],
        ModeOption::Generic => &[XdpMode::Generic],
    };
    let multi = programs.xdp.as_ref().map(|program| (true, program));
    let variants = multi.into_iter().chain([(false, &programs.xdp_linear)]);
    let rungs = modes.iter().flat_map(|mode| {
        variants.clone().map(|(frags, program)| Rung {
            mode: *mode,
            frags,
            program: program.as_fd(),
        })
    });
    let mut refusals = Vec::new();
    for rung in rungs {
        let hook = match rung.mode {
            XdpMode::Native => Hook::XdpNative,
            XdpMode::Generic => Hook::XdpGeneric,
        };
        match Link::new(rung.program, device.index, hook) {
            Ok(link) => {
                let fallback = (!refusals.is_empty()).then(|| refusals.join("; "));
                warn_of(device, &rung, wanted, fallback.as_deref());
                return Ok(Xdp {
                    link,
                    mode: rung.mode,
                    frags: rung.frags,
                    fallback,
                });
            }
            Err(error) => refusals.push(refusal(device, &rung, error)?),
        }
    }
    Err(AttachError::Refused {
        device: device.name.clone(),
        mode: match wanted {
            ModeOption::Auto => "any",
            ModeOption::Native => "native",
            ModeOption::Generic => "generic",
        },
        reason: refusals.join("; "),
    })
}

fn warn_of(device: &Device, rung: &Rung<'_>, wanted: ModeOption, fallback: Option<&str>) {
    let device = device.name.as_str();
    if rung.mode == XdpMode::Generic && wanted == ModeOption::Auto {
        let reason = fallback.unwrap_or("unknown");
        tracing::warn!(
            device,
            reason,
            "XDP runs in generic mode: slower, and packets that GRO has merged count as one \
             (`ethtool -K {device} gro off` keeps counts exact)"
        );
    } else if let Some(reason) = fallback {
        tracing::warn!(
            device,
            reason,
            frags = rung.frags,
            "XDP runs in its second-best variant"
        );
    }
}

/// Puts a refusal into words, or stops the climb where the next rung cannot do better.
fn refusal(device: &Device, rung: &Rung<'_>, error: io::Error) -> Result<String, AttachError> {
    let name = device.name.clone();
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            return Err(AttachError::Capabilities {
                device: name,
                missing: capabilities::explain_refusal(&[
                    capabilities::BPF,
                    capabilities::NET_ADMIN,
                ]),
            });
        }
        Some(libc::ENODEV) => {
            return Err(AttachError::NoDevice {
                device: name,
                hint: String::new(),
            });
        }
        // Somebody else was faster, or holds a device above or below this one.
        Some(libc::EBUSY | libc::EEXIST) => {
            let now = Device::by_index(device.index).ok().flatten();
            let program = now.and_then(|now| now.xdp).map_or_else(
                || "of a device above or below it (a bond and its members share one)".into(),
                |xdp| foreign(xdp.program_id, xdp.mode),
            );
            return Err(AttachError::Foreign {
                device: name,
                program,
            });
        }
        _ => {}
    }
    let variant = if rung.frags { "multi-buffer" } else { "linear" };
    let why = match error.raw_os_error() {
        Some(libc::ERANGE | libc::EINVAL) if !rung.frags && device.mtu > 1500 => {
            format!(
                "the MTU of {} may be too large for it, lower it",
                device.mtu
            )
        }
        Some(libc::EOPNOTSUPP) => "the driver has no such mode".into(),
        Some(libc::ENOMEM) => "no memory for its queues, use fewer channels".into(),
        _ => "see `dmesg` for the driver's reason".into(),
    };
    Ok(format!("{} {variant}: {error} ({why})", rung.mode.as_str()))
}
