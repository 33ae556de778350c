//! From XDP to a classifier or back, where the link of the other kind is pinned on the device.
//!
//! The new link has to be there, and pinned, before the old one may go: where it cannot be had, the
//! old one counts and defends on. But a packet crosses both hooks, and would be counted twice. So the
//! new link begins with a [`Placeholder`]; then the old one's program is replaced by one, and the new
//! link's by what counts. What crosses the device between these two steps is counted by neither, for
//! as long as two system calls take. A packet that XDP had counted before, and that waits behind it at
//! this moment (NAPI's poll, GRO, RPS), meets a classifier that counts it once more.
//!
//! A process that is killed on the way leaves both links pinned, and nothing tells which of them
//! counts: at most one does. The next start goes the whole way again, whichever way it goes: the new
//! link, pinned as it is, gets a placeholder first. So the old one is let go of only once the new one
//! counts.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use super::super::{
    AttachError,
    netlink::device::Device,
    pin::{Directory, LinkKind, PinError},
    sys::{link::Link, placeholder::Placeholder},
};

/// A pinned link that another one is about to relieve.
#[derive(Debug)]
pub(super) struct Handover<'a> {
    pins: &'a Directory,
    ifindex: u32,
    kind: LinkKind,
    old: Link,
}

impl<'a> Handover<'a> {
    /// The pinned link of the kind `from`, if there is one to be relieved.
    pub(super) fn find(
        pins: &'a Directory,
        ifindex: u32,
        from: LinkKind,
    ) -> Result<Option<Self>, PinError> {
        let old = pins.link(from, ifindex)?;
        Ok(old.map(|old| Self {
            pins,
            ifindex,
            kind: from,
            old,
        }))
    }

    /// Takes the old link off, and puts `program` into the new one, which has a placeholder.
    ///
    /// # Errors
    /// [`AttachError::System`] if the new link, which took a placeholder, refuses `program`: then
    /// nothing of ours is left on the device. The program before cannot be put back: what loaded it
    /// was another process, and to open it by its id asks for `CAP_SYS_ADMIN`. [`AttachError::Pin`]
    /// if the old link's pin cannot be removed: the new one counts.
    pub(super) fn complete(
        self,
        device: &Device,
        new: &Link,
        to: LinkKind,
        program: BorrowedFd<'_>,
    ) -> Result<(), AttachError> {
        let (pins, ifindex) = (self.pins, self.ifindex);
        self.fall_silent();
        let updated = new.update(program);
        let gone = self.let_go();
        if let Err(source) = updated {
            // Nothing is left that counts: nor shall anything be left that does not.
            if let Err(error) = pins.unpin_link(to, ifindex) {
                tracing::warn!(device = device.name, "{error}");
            }
            return Err(failed(device, "the programs could not change places")(
                source,
            ));
        }
        gone.map_err(|source| AttachError::Pin {
            device: device.name.clone(),
            source,
        })
    }

    /// Replaces the old program: that is faster than to take the link off, for which the kernel
    /// waits until no packet is in a program.
    fn fall_silent(&self) {
        let placeholders: &[_] = match self.kind {
            // The driver may ask for either.
            LinkKind::Xdp => &[
                Placeholder::Xdp { frags: true },
                Placeholder::Xdp { frags: false },
            ],
            LinkKind::TcxIngress | LinkKind::TcxEgress => &[Placeholder::Classifier],
        };
        let silent = placeholders.iter().any(|placeholder| {
            let updated = placeholder
                .load()
                .and_then(|program| self.old.update(program.as_fd()));
            updated.is_ok()
        });
        if !silent && let Err(error) = self.old.detach() {
            tracing::debug!(ifindex = self.ifindex, %error, "The link is taken off with its pin");
        }
    }

    /// Its pin goes first: from here on no start can take the handover for one that was cut off.
    fn let_go(self) -> Result<(), PinError> {
        self.pins.unpin_link(self.kind, self.ifindex)
    }
}

/// A program that counts nothing yet.
pub(super) fn placeholder(
    device: &Device,
    placeholder: Placeholder,
) -> Result<OwnedFd, AttachError> {
    let loaded = placeholder.load();
    loaded.map_err(failed(
        device,
        "a program that holds its place could not be loaded",
    ))
}

fn failed(device: &Device, what: &'static str) -> impl FnOnce(io::Error) -> AttachError {
    move |source| AttachError::System {
        device: device.name.clone(),
        what,
        source,
    }
}
