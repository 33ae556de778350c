//! Sockets of the test: a listener that is soon full, and a client that the kernel is told has sent
//! its SYN already.

use std::{
    io,
    mem::size_of,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    time::{Duration, Instant},
};

use super::frame::SEQUENCE;

/// For how long a listener holds connections without data back, seconds; far longer than the test.
const DEFER: libc::c_int = 30;

/// Length of the listener's queue.
pub(super) const BACKLOG: libc::c_int = 1;

/// For how long a connection may take to appear: on loopback it is there at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Values of `TCP_REPAIR_QUEUE` (`include/uapi/linux/tcp.h`).
const RECV_QUEUE: libc::c_int = 1;
const SEND_QUEUE: libc::c_int = 2;

/// A listener whose queue a few connections without data fill.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let fd = listener.as_raw_fd();
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, DEFER)?;
    // SAFETY: plain integers; the socket is a listener, whose backlog this replaces.
    check(unsafe { libc::listen(fd, BACKLOG) })?;
    Ok(listener)
}

/// A port that nobody else gets meanwhile, on the same address.
pub(super) fn reserve(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = socket(address, libc::SOCK_STREAM, 0)?;
    let (raw, len) = to_raw(address);
    // SAFETY: the kernel reads as many bytes as are told.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const raw).cast(), len) })?;
    // The standard library asks for the address that was given.
    let bound = TcpListener::from(socket);
    let client = bound.local_addr()?;
    Ok((bound.into(), client))
}

/// The listener's connection of `client`, if there is one.
pub(super) fn accepts(listener: &TcpListener, client: SocketAddr) -> io::Result<Option<TcpStream>> {
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((accepted, peer)) if peer == client => return Ok(Some(accepted)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if start.elapsed() > PATIENCE {
                    return Ok(None);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Lets the kernel send the ACK for a SYN-ACK with this sequence number, of the connection from
/// where `socket` is bound.
pub(super) fn acknowledge(socket: &OwnedFd, server: SocketAddr, cookie: u32) -> io::Result<()> {
    repair(socket, true)?;
    // What leaving the mode sends is a probe of the window: an ACK that bears the number before the
    // next one to be sent (tcp_send_window_probe). So that has to be one more than after a SYN.
    set_sequence(socket, SEND_QUEUE, SEQUENCE.wrapping_add(2))?;
    set_sequence(socket, RECV_QUEUE, cookie.wrapping_add(1))?;
    let (raw, len) = to_raw(server);
    // SAFETY: the kernel reads as many bytes as are told. In repair mode nothing is sent.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const raw).cast(), len) })?;
    repair(socket, false)
}

/// Takes a socket into repair mode, or out of it.
pub(super) fn repair(socket: &OwnedFd, on: bool) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR, on.into())
}

/// Sets the next sequence number of a queue, in repair mode and before `connect`.
fn set_sequence(socket: &OwnedFd, queue: libc::c_int, next: u32) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR_QUEUE, queue)?;
    set_option(
        fd,
        libc::IPPROTO_TCP,
        libc::TCP_QUEUE_SEQ,
        next.cast_signed(),
    )
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn socket(family: SocketAddr, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    let domain = if family.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    // SAFETY: plain integers.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) };
    check(fd)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_option(
    fd: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as are told.
    check(unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
}

/// A socket address as the kernel has it, and its length.
fn to_raw(address: SocketAddr) -> (libc::sockaddr_in6, libc::socklen_t) {
    // SAFETY: plain integers, for which zeros are valid.
    let mut raw: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    match address {
        SocketAddr::V4(v4) => {
            let short = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: the address of IPv6 is longer and not less aligned.
            unsafe { (&raw mut raw).cast::<libc::sockaddr_in>().write(short) };
            (raw, size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        SocketAddr::V6(v6) => {
            raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            raw.sin6_port = v6.port().to_be();
            raw.sin6_addr.s6_addr = v6.ip().octets();
            (raw, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        }
    }
}
