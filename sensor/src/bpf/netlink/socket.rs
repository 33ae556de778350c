//! A rtnetlink socket that asks and waits for the answer.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use zerocopy::FromBytes as _;

use super::message::{Attributes, Message, Messages, Request};

/// `NLMSGERR_ATTR_MSG`: the kernel's own words in an error.
const ERROR_TEXT: u16 = 1;
/// `NLM_F_ACK_TLVS`: attributes follow an error.
const ERROR_HAS_ATTRIBUTES: u16 = 0x200;
/// `NLM_F_CAPPED`: the request is not repeated in an error.
const ERROR_CAPPED: u16 = 0x100;

/// An open socket.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub(super) fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: makes a descriptor, or returns -1.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` has just been made for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            let on: libc::c_int = 1;
            let len = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(4);
            // SAFETY: the kernel reads one int. A kernel without the option says less in its
            // errors, so the result does not matter.
            unsafe {
                libc::setsockopt(
                    fd.as_raw_fd(),
                    libc::SOL_NETLINK,
                    option,
                    (&raw const on).cast(),
                    len,
                );
            }
        }
        Ok(Self {
            fd,
            sequence: 0,
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Sends `request`, which asks for an acknowledgement or a dump, and gives every message of
    /// the answer to `answer`.
    pub(super) fn ask(
        &mut self,
        request: Request,
        mut answer: impl FnMut(&Message<'_>),
    ) -> io::Result<()> {
        self.sequence += 1;
        let bytes = request.finish(self.sequence);
        // SAFETY: the kernel reads `bytes`, and addresses an unconnected socket by default.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        loop {
            let received = self.receive()?;
            for message in Messages(&self.buffer[..received]) {
                if message.sequence != self.sequence {
                    continue;
                }
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR => return status(&message),
                    libc::NLMSG_DONE => return Ok(()),
                    _ => answer(&message),
                }
            }
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        loop {
            let (at, len) = (self.buffer.as_mut_ptr().cast(), self.buffer.len());
            // SAFETY: the kernel writes at most `len` bytes to the buffer.
            let received = unsafe { libc::recv(self.fd.as_raw_fd(), at, len, 0) };
            match usize::try_from(received) {
                Ok(received) => return Ok(received.min(len)),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// The outcome in an `NLMSG_ERROR`, which is also how success is acknowledged.
fn status(message: &Message<'_>) -> io::Result<()> {
    let Ok((code, rest)) = i32::read_from_prefix(message.payload) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    if code == 0 {
        return Ok(());
    }
    let error = io::Error::from_raw_os_error(-code);
    let has_text = message.flags & ERROR_HAS_ATTRIBUTES != 0 && message.flags & ERROR_CAPPED != 0;
    let text = has_text
        .then(|| {
            rest.get(16..)
                .and_then(|rest| Attributes(rest).text(ERROR_TEXT))
        })
        .flatten();
    if let Some(text) = text {
        tracing::debug!(%error, text, "netlink refused a request");
    }
    Err(error)
}
