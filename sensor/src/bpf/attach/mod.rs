//! Attaching to devices, and what it gives back.

mod check;
mod egress;
mod follow;
mod handover;
mod passive;
mod tap;
mod tcx;
mod xdp;

use super::{
    AttachError, AttachOptions,
    load::{IngressPrograms, Programs},
    netlink::{self, device::Device},
    pin::{Directory, Pins},
    slots::{SlotError, SlotId, Slots},
    sys::link::Link,
};
pub(super) use check::{foreign, usable};
use egress::EgressHook;
pub(super) use egress::sweep;
pub(super) use follow::follow;
pub(super) use passive::check as check_passive;
use sensor_ebpf::abi::MAX_DEVICES;
use tap::Promiscuous;

/// A device on which the programs run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name now.
    pub device: String,
    /// Its index now.
    pub ifindex: u32,
    /// Where received packets are counted.
    pub mode: XdpMode,
    /// The program takes frames of any size (jumbo MTU, LRO).
    pub frags: bool,
    /// Why native mode was not to be had, if it was asked for or allowed.
    pub fallback: Option<String>,
    /// How sent packets are counted.
    pub egress: Egress,
    /// A mirror port.
    pub tap: bool,
}

/// Where the XDP program runs, if one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, on each frame.
    Native,
    /// In the stack, after GRO: packets that were merged count as one.
    Generic,
    /// None: a classifier behind it counts what an XDP program of somebody else lets through.
    Passive,
}

impl XdpMode {
    /// `native`, `generic` or `passive`, as in `sensor_xdp_attach_info{mode}`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Passive => "passive",
        }
    }
}

/// How packets that the host sends are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Egress {
    /// A TCX link, which dies with the process.
    Tcx,
    /// A clsact filter under our own priority and handle, which a later start removes if this
    /// process does not.
    Clsact,
    /// Not at all, and why.
    None(String),
}

impl Egress {
    /// `tcx`, `clsact` or `none`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
            Self::None(_) => "none",
        }
    }
}

/// What happened to an attached device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChange {
    /// It vanished. Its name is watched for its return.
    Vanished {
        /// The name.
        device: String,
        /// Its last index.
        ifindex: u32,
    },
    /// A device of that name is there again, and attached.
    Returned(Attachment),
    /// A device of that name is there again, and cannot be attached; tried again later.
    Failed {
        /// The name.
        device: String,
        /// Why.
        reason: String,
    },
    /// The device has another name, and stays attached.
    Renamed {
        /// The name before.
        from: String,
        /// The name now.
        to: String,
        /// Its index.
        ifindex: u32,
    },
}

/// A device that is attached, or that was and may come back.
#[derive(Debug)]
pub(super) struct Attached {
    /// As it is, or was last.
    pub(super) attachment: Attachment,
    options: AttachOptions,
    pub(super) slot: SlotId,
    /// What runs there; none while the device is gone.
    hooks: Option<Hooks>,
    /// Why the last attempt to attach it again failed, which is reported once.
    failure: Option<String>,
}

/// What attaching needs, whatever the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Installer<'a> {
    pub(super) programs: &'a Programs,
    /// Where links are pinned, if they are.
    pub(super) pins: Option<&'a Directory>,
}

impl<'a> Installer<'a> {
    /// Of a data plane that is pinned, or is not.
    pub(super) fn new(programs: &'a Programs, pins: Option<&'a Pins>) -> Self {
        Self {
            programs,
            pins: pins.map(|pins| &pins.directory),
        }
    }

    /// Removes what is pinned of a device that was detached, or is gone.
    pub(super) fn unpin(&self, attachment: &Attachment) {
        let Some(pins) = self.pins else {
            return;
        };
        let device = attachment.device.as_str();
        if let Err(error) = pins.unpin_device(attachment.ifindex) {
            tracing::warn!(device, "{error}");
        }
        if attachment.egress == Egress::Clsact
            && let Err(error) = netlink::tc::remove(attachment.ifindex)
            && error.raw_os_error() != Some(libc::ENODEV)
        {
            tracing::warn!(device, %error, "Egress filter was not removed");
        }
    }
}

/// What counts received packets on a device.
#[derive(Debug)]
struct Ingress {
    link: Link,
    mode: XdpMode,
    frags: bool,
    fallback: Option<String>,
}

/// Everything that dropping takes off a device, unless it is pinned.
#[derive(Debug)]
struct Hooks {
    ingress: Link,
    _egress: EgressHook,
    _promiscuous: Option<Promiscuous>,
}

impl Attached {
    /// The programs run on the device now.
    pub(super) const fn is_running(&self) -> bool {
        self.hooks.is_some()
    }
}

/// Attaches the programs to the device called `name`. A slot is taken before the first packet can
/// be counted, and given back if attaching fails, unless the device is known and `may_return`, or a
/// pinned program counts there on.
pub(super) fn attach(
    name: &str,
    options: AttachOptions,
    installer: Installer<'_>,
    slots: &mut Slots,
    epoch: u64,
    may_return: bool,
) -> Result<Attached, AttachError> {
    let passive = installer.programs.are_passive();
    let device = usable(name, options, passive, installer.pins)?;
    let was_counted = slots.is_counted(device.index);
    let slot = slots
        .take(name, device.index)
        .map_err(|error| no_slot(name, error))?;
    match hook(&device, options, installer) {
        Ok((attachment, hooks)) => Ok(Attached {
            attachment,
            options,
            slot,
            hooks: Some(hooks),
            failure: None,
        }),
        Err(error) => {
            if !was_counted {
                slots.release(slot, epoch, may_return);
            }
            Err(error)
        }
    }
}

fn hook(
    device: &Device,
    options: AttachOptions,
    installer: Installer<'_>,
) -> Result<(Attachment, Hooks), AttachError> {
    let Installer { programs, pins } = installer;
    let promiscuous = options.tap.then(|| Promiscuous::set(device)).transpose()?;
    let ingress = match &programs.ingress {
        IngressPrograms::Xdp(programs) => xdp::attach(device, options.mode, programs, pins)?,
        IngressPrograms::Passive(program) => passive::attach(device, program, pins)?,
    };
    let (egress, hook) = egress::attach(device, options, programs, pins);
    let attachment = Attachment {
        device: device.name.clone(),
        ifindex: device.index,
        mode: ingress.mode,
        frags: ingress.frags,
        fallback: ingress.fallback,
        egress,
        tap: options.tap,
    };
    let hooks = Hooks {
        ingress: ingress.link,
        _egress: hook,
        _promiscuous: promiscuous,
    };
    Ok((attachment, hooks))
}

fn no_slot(device: &str, error: SlotError) -> AttachError {
    let device = device.to_owned();
    match error {
        SlotError::Full => AttachError::TooMany {
            device,
            limit: MAX_DEVICES,
        },
        SlotError::Collision(other) => AttachError::IndexCollision { device, other },
        SlotError::Map(source) => AttachError::System {
            device,
            what: "the device table could not be changed",
            source,
        },
    }
}
