//! The clsact qdisc and our one filter in it, for kernels without TCX.
//!
//! A filter outlives the process that made it. Ours has a fixed priority and handle, and a name
//! that also says whether the qdisc was made for it, so that whoever comes next can remove both.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Attributes, Request, Socket};

/// `TC_H_CLSACT`: where the qdisc hangs; its own handle is the upper half.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// Where its filters hang.
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

/// Late among the filters: we count what the others let through.
const PRIORITY: u32 = 60_606;
/// "SENS".
const HANDLE: u32 = 0x5345_4e53;
const NAME: &str = "sensor_egress";
/// As [`NAME`], where the qdisc is ours, too.
const NAME_WITH_QDISC: &str = "sensor_egress+clsact";

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;

const CHANGE: i32 = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
const CREATE: i32 = CHANGE | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
const DUMP: i32 = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;

/// `struct tcmsg`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Head {
    family: u8,
    _pad1: u8,
    _pad2: u16,
    ifindex: i32,
    handle: u32,
    parent: u32,
    info: u32,
}

impl Head {
    const fn qdisc(ifindex: u32) -> Self {
        Self {
            family: 0,
            _pad1: 0,
            _pad2: 0,
            ifindex: ifindex.cast_signed(),
            handle: CLSACT_HANDLE,
            parent: CLSACT,
            info: 0,
        }
    }

    const fn filters(ifindex: u32, parent: u32) -> Self {
        Self {
            handle: 0,
            parent,
            ..Self::qdisc(ifindex)
        }
    }

    const fn our_filter(ifindex: u32) -> Self {
        let protocol = (libc::ETH_P_ALL as u16).to_be() as u32;
        Self {
            handle: HANDLE,
            info: PRIORITY << 16 | protocol,
            ..Self::filters(ifindex, EGRESS)
        }
    }
}

/// Our filter on a device, taken off when dropped unless it is to stay.
#[derive(Debug)]
pub(crate) struct Filter {
    ifindex: u32,
    stays: bool,
}

impl Filter {
    /// Puts `program` behind every filter that sees packets leave the device, in the place of
    /// what an earlier process may have left. A filter that `stays` is not taken off when
    /// dropped: it outlives the process, as a pinned link does.
    pub(crate) fn attach(program: BorrowedFd<'_>, ifindex: u32, stays: bool) -> io::Result<Self> {
        let mut socket = Socket::open()?;
        if let Some(name) = our_filters_name(&mut socket, ifindex)? {
            // The kernel puts the new program into the filter's place in one step.
            let request = filter(program, ifindex, CHANGE | libc::NLM_F_CREATE, &name);
            socket.ask(request, |_| {})?;
            return Ok(Self { ifindex, stays });
        }
        let qdisc = Request::new(libc::RTM_NEWQDISC, CREATE, &Head::qdisc(ifindex));
        let name = match socket.ask(qdisc.text(TCA_KIND, "clsact"), |_| {}) {
            Ok(()) => NAME_WITH_QDISC,
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => NAME,
            Err(error) => return Err(error),
        };
        // From here on dropping cleans up, also if the filter is refused.
        let taken = Self { ifindex, stays };
        let attached = socket.ask(filter(program, ifindex, CREATE, name), |_| {});
        if attached.is_err() && name == NAME_WITH_QDISC {
            remove_qdisc_if_unused(&mut socket, ifindex)?;
        }
        attached.map(|()| taken)
    }
}

fn filter(program: BorrowedFd<'_>, ifindex: u32, flags: i32, name: &str) -> Request {
    Request::new(libc::RTM_NEWTFILTER, flags, &Head::our_filter(ifindex))
        .text(TCA_KIND, "bpf")
        .nested(TCA_OPTIONS, |options| {
            options
                .attribute(TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes())
                .text(TCA_BPF_NAME, name)
                .attribute(TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes())
        })
}

impl Drop for Filter {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        // A device that is gone took its filters along.
        if let Err(error) = remove(self.ifindex)
            && error.raw_os_error() != Some(libc::ENODEV)
        {
            tracing::warn!(ifindex = self.ifindex, %error, "Egress filter was not removed");
        }
    }
}

/// Takes our filter off the device, and the qdisc if it was made for it and nobody else has come
/// to use it. Returns whether there was one.
pub(crate) fn remove(ifindex: u32) -> io::Result<bool> {
    let mut socket = Socket::open()?;
    let Some(name) = our_filters_name(&mut socket, ifindex)? else {
        return Ok(false);
    };
    let request = Request::new(libc::RTM_DELTFILTER, CHANGE, &Head::our_filter(ifindex));
    socket.ask(request.text(TCA_KIND, "bpf"), |_| {})?;
    if name == NAME_WITH_QDISC
        && let Err(error) = remove_qdisc_if_unused(&mut socket, ifindex)
    {
        // The filter is gone, and an empty qdisc does nothing.
        tracing::warn!(ifindex, %error, "An empty clsact qdisc may be left");
    }
    Ok(true)
}

fn remove_qdisc_if_unused(socket: &mut Socket, ifindex: u32) -> io::Result<()> {
    let mut filters = 0;
    for parent in [INGRESS, EGRESS] {
        let request = Request::new(libc::RTM_GETTFILTER, DUMP, &Head::filters(ifindex, parent));
        socket.ask(request, |_| filters += 1)?;
    }
    if filters == 0 {
        let request = Request::new(libc::RTM_DELQDISC, CHANGE, &Head::qdisc(ifindex));
        socket.ask(request, |_| {})?;
    }
    Ok(())
}

fn our_filters_name(socket: &mut Socket, ifindex: u32) -> io::Result<Option<String>> {
    let mut name = None;
    let request = Request::new(libc::RTM_GETTFILTER, DUMP, &Head::filters(ifindex, EGRESS));
    let asked = socket.ask(request, |message| {
        name = name.take().or_else(|| our_name(message.payload));
    });
    match asked {
        Ok(()) => Ok(name),
        // No clsact qdisc; or a kernel without classifiers, which TCX does not need.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EINVAL | libc::ENOENT | libc::EOPNOTSUPP)
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn our_name(payload: &[u8]) -> Option<String> {
    let (head, rest) = Head::read_from_prefix(payload).ok()?;
    let attributes = Attributes(rest);
    let ours = head.handle == HANDLE && head.info >> 16 == PRIORITY;
    let name = attributes.nested(TCA_OPTIONS)?.text(TCA_BPF_NAME)?;
    (ours && (name == NAME || name == NAME_WITH_QDISC)).then_some(name)
}
