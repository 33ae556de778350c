//! XDP: native if it can be, generic with a warning otherwise.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use super::{
    super::{
        AttachError, ModeOption, XdpMode, capabilities,
        load::XdpPrograms,
        netlink::device::Device,
        pin::{Directory, LinkKind, PinError},
        sys::{
            link::{Hook, Link},
            placeholder::Placeholder,
        },
    },
    Ingress,
    check::foreign,
    handover::{Handover, placeholder},
};

/// One attempt of the ladder.
struct Rung<'a> {
    mode: XdpMode,
    hook: Hook,
    frags: bool,
    program: BorrowedFd<'a>,
}

/// Puts the programs into the place of those that a pinned link keeps on the device, or attaches
/// them, and pins the link if there is where.
pub(super) fn attach(
    device: &Device,
    wanted: ModeOption,
    programs: &XdpPrograms,
    pins: Option<&Directory>,
) -> Result<Ingress, AttachError> {
    let Some(pins) = pins else {
        return attach_new(device, wanted, programs);
    };
    let failed = |source| AttachError::Pin {
        device: device.name.clone(),
        source,
    };
    let put = |programs: &XdpPrograms| put(device, wanted, programs, pins);
    let from = Handover::find(pins, device.index, LinkKind::TcxIngress).map_err(failed)?;
    let Some(from) = from else {
        return put(programs);
    };
    let xdp = put(&placeholders(device, programs)?)?;
    let program = match &programs.multi {
        Some(multi) if xdp.frags => multi,
        _ => &programs.linear,
    };
    from.complete(device, &xdp.link, LinkKind::Xdp, program.as_fd())?;
    Ok(xdp)
}

/// Puts the programs into the pinned link, or into a new one that it pins.
fn put(
    device: &Device,
    wanted: ModeOption,
    programs: &XdpPrograms,
    pins: &Directory,
) -> Result<Ingress, AttachError> {
    let failed = |source| AttachError::Pin {
        device: device.name.clone(),
        source,
    };
    let former = match take_over(device, wanted, programs, pins).map_err(failed)? {
        Found::Serves(xdp) => return Ok(xdp),
        Found::TakenOff(former) => Some(former),
        Found::Nothing => None,
    };
    let attach_pinned = |wanted| {
        let xdp = attach_new(device, wanted, programs)?;
        pins.pin_link(&xdp.link, LinkKind::Xdp, device.index)
            .map_err(failed)?;
        Ok(xdp)
    };
    attach_pinned(wanted).inspect_err(|_| {
        // Two modes exclude each other: the one before had to go first.
        if let Some(former) = former
            && let Err(error) = attach_pinned(former)
        {
            tracing::error!("What was attached before is not there any more: {error}");
        }
    })
}

/// What takes the place of the programs, and does nothing.
fn placeholders(device: &Device, programs: &XdpPrograms) -> Result<XdpPrograms, AttachError> {
    let load = |frags| placeholder(device, Placeholder::Xdp { frags });
    Ok(XdpPrograms {
        multi: programs.multi.is_some().then(|| load(true)).transpose()?,
        linear: load(false)?,
    })
}

/// What became of a pinned link.
enum Found {
    Nothing,
    /// It runs these programs now.
    Serves(Ingress),
    /// It was of a mode that is not wanted, or did not take them; it would be by this option again.
    TakenOff(ModeOption),
}

/// Replaces the program of the pinned link, if there is one: no packet goes without a program. A
/// link in a mode that is not wanted is taken off.
fn take_over(
    device: &Device,
    wanted: ModeOption,
    programs: &XdpPrograms,
    pins: &Directory,
) -> Result<Found, PinError> {
    let Some(link) = pins.link(LinkKind::Xdp, device.index)? else {
        return Ok(Found::Nothing);
    };
    let (mode, former) = match device.xdp {
        Some(xdp) if xdp.mode == XdpMode::Native.as_str() => (XdpMode::Native, ModeOption::Native),
        _ => (XdpMode::Generic, ModeOption::Generic),
    };
    let is_wanted = wanted == ModeOption::Auto || wanted == former;
    let mut refusal = "another mode is asked for".to_owned();
    if is_wanted {
        let multi = programs.multi.as_ref().map(|program| (true, program));
        for (frags, program) in multi.into_iter().chain([(false, &programs.linear)]) {
            match link.update(program.as_fd()) {
                Ok(()) => {
                    return Ok(Found::Serves(Ingress {
                        link,
                        mode,
                        frags,
                        fallback: None,
                    }));
                }
                Err(error) => refusal = error.to_string(),
            }
        }
    }
    let device_name = device.name.as_str();
    tracing::warn!(
        device = device_name,
        reason = refusal,
        "The program that was pinned goes before the new one comes: what arrives in between \
         passes uncounted"
    );
    pins.unpin_link(LinkKind::Xdp, device.index)?;
    Ok(Found::TakenOff(former))
}

/// Climbs down from what is best: native before generic, multi-buffer before linear. The kernel
/// itself would choose generic mode without a word.
fn attach_new(
    device: &Device,
    wanted: ModeOption,
    programs: &XdpPrograms,
) -> Result<Ingress, AttachError> {
    let native = (XdpMode::Native, Hook::XdpNative);
    let generic = (XdpMode::Generic, Hook::XdpGeneric);
    let modes: &[_] = match wanted {
        ModeOption::Auto => &[native, generic],
        ModeOption::Native => &[native],
        ModeOption::Generic => &[generic],
    };
    let multi = programs.multi.as_ref().map(|program| (true, program));
    let variants = multi.into_iter().chain([(false, &programs.linear)]);
    let rungs = modes.iter().flat_map(|&(mode, hook)| {
        variants.clone().map(move |(frags, program)| Rung {
            mode,
            hook,
            frags,
            program: program.as_fd(),
        })
    });
    let mut refusals = Vec::new();
    for rung in rungs {
        match Link::new(rung.program, device.index, rung.hook) {
            Ok(link) => {
                let fallback = (!refusals.is_empty()).then(|| refusals.join("; "));
                warn_of(device, &rung, wanted, fallback.as_deref());
                return Ok(Ingress {
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
