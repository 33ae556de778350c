//! Classifiers that a pinned TCX link keeps on a device, in either direction.

use std::os::fd::BorrowedFd;

use super::super::{
    netlink::device::Device,
    pin::{Directory, LinkKind, PinError},
    sys::link::Link,
};

/// Replaces the program of the pinned link, if there is one: each packet meets one of both. A link
/// that does not take it is taken off.
pub(super) fn take_over(
    device: &Device,
    kind: LinkKind,
    program: BorrowedFd<'_>,
    pins: &Directory,
) -> Result<Option<Link>, PinError> {
    let Some(link) = pins.link(kind, device.index)? else {
        return Ok(None);
    };
    match link.update(program) {
        Ok(()) => return Ok(Some(link)),
        Err(error) => {
            let device = device.name.as_str();
            tracing::warn!(
                device,
                %error,
                "The pinned classifier goes before the new one comes: what crosses the device in \
                 between is not counted"
            );
        }
    }
    pins.unpin_link(kind, device.index)?;
    Ok(None)
}
