//! Shows, before the guard arms, that this kernel accepts the cookies that the program sends.
//!
//! The program is loaded once more, with small tables of its own and attached to nothing. It runs
//! over a SYN to a listener of this test's on loopback, whose queue a client has filled; the ACK
//! that follows goes through the loopback device like any other, and the listener has to accept
//! the connection. No frame leaves the host, no setting changes, no other service is touched.
//!
//! The ACK is the kernel's own: a socket in repair mode (`TCP_REPAIR`, made for the migration of
//! connections) takes the SYN-ACK for received, and sends an ACK when it leaves that mode. That
//! asks for no capability beyond those that the data plane needs; a raw socket would, for one.

use std::{
    io,
    mem::size_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    time::{Duration, Instant},
};

use sensor_ebpf::{
    abi::{
        Destination, DestinationCounters, DestinationKey, GuardMode, GuardSettings, Method,
        Settings, device_entry, map, mode, program,
    },
    guard::synack,
};

use super::{super::sys, DataPlane, TcpSettings};
use crate::bpf::{
    GuardTables, LoadError,
    load::{load_program, open, possible_cpus, refused_map, typed},
    sys::map::{Array, PerCpuArray, Table},
};

/// Whether cookies have been shown to work, for each family of addresses on its own.
#[derive(Debug)]
pub struct SelfTest {
    pub ipv4: Result<(), SelfTestError>,
    /// An error also where loopback has no such address, so that nothing could be shown.
    pub ipv6: Result<(), SelfTestError>,
}

/// Why cookies cannot be relied on here.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The kernel is told not to send any.
    #[error("net.ipv4.tcp_syncookies is 0: set it to 1 for SYN cookies")]
    Disabled,
    /// The private copy of the program could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Loopback has no such address, or not this one.
    #[error(
        "the test of SYN cookies could not listen on {address} ({source}): give the loopback device \
         that address"
    )]
    NoListener {
        /// Where.
        address: IpAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// A step of the test failed.
    #[error("the test of SYN cookies could not {what}: {source}")]
    System {
        /// The step.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel gave no cookie for a listener whose queue is full.
    #[error(
        "no cookie was made for {server} (XDP verdict {verdict}: {why}): the kernel's own defence \
         and the guard's other methods remain"
    )]
    NotAnswered {
        /// The test's listener.
        server: SocketAddr,
        /// What the program returned.
        verdict: u32,
        /// What it has counted.
        why: &'static str,
    },
    /// The ACK for a cookie made no connection.
    #[error(
        "{server} did not accept the ACK of a SYN cookie: look for a packet filter on the loopback \
         device"
    )]
    NotAccepted {
        /// The test's listener.
        server: SocketAddr,
    },
}

/// The index of the loopback device, in every network namespace.
const LOOPBACK: u32 = 1;

const XDP_TX: u32 = 3;

/// Where the destination is counted.
const SLOT: u32 = 0;

/// For how long a listener holds connections without data back, seconds; far longer than the test.
const DEFER: libc::c_int = 30;

/// Length of the listener's queue.
const BACKLOG: libc::c_int = 1;

/// For how long a connection may take to appear: on loopback it is there at once.
const PATIENCE: Duration = Duration::from_secs(5);

const SEQUENCE: u32 = 0x5e45_0041;

/// Values of `TCP_REPAIR_QUEUE` (`include/uapi/linux/tcp.h`).
const RECV_QUEUE: libc::c_int = 1;
const SEND_QUEUE: libc::c_int = 2;

impl DataPlane {
    /// Tries whether cookies work on this host. Takes as long as the verifier takes for the
    /// program, a second or more: run it on a thread of its own, in the network namespace of the
    /// devices.
    ///
    /// # Errors
    /// [`SelfTestError`]: why neither family could be tried.
    pub fn guard_self_test() -> Result<SelfTest, SelfTestError> {
        let tcp = TcpSettings::read();
        if tcp.syncookies == 0 {
            return Err(SelfTestError::Disabled);
        }
        let mut subject = Subject::load(tcp)?;
        Ok(SelfTest {
            ipv4: subject.try_family((Ipv4Addr::LOCALHOST, 0).into()),
            ipv6: subject.try_family((Ipv6Addr::LOCALHOST, 0).into()),
        })
    }
}

/// The private copy of the program.
struct Subject {
    program: OwnedFd,
    destinations: Table<DestinationKey, Destination>,
    counters: PerCpuArray<DestinationCounters>,
    /// The kernel sends cookies whether a queue is full or not.
    always: bool,
}

impl Subject {
    fn load(tcp: TcpSettings) -> Result<Self, SelfTestError> {
        let tables = GuardTables {
            syn_filter: 64,
            sources: 64,
            source_rates: 64,
        };
        let mut object = open(64, tables)?;
        let program = load_program(&mut object, program::XDP_LINEAR, &mut Vec::new())?;
        let settings: Array<Settings> = typed(&mut object, map::SETTINGS, Array::new)?;
        let guard: Array<GuardSettings> = typed(&mut object, map::GUARD, Array::new)?;
        let devices: Array<u64> = typed(&mut object, map::DEVICES, Array::new)?;
        let epoch: Array<u64> = typed(&mut object, map::EPOCH, Array::new)?;
        let destinations = typed(&mut object, map::DESTINATIONS, Table::new)?;
        epoch
            .set(0, &1)
            .and_then(|()| devices.set(LOOPBACK, &device_entry(LOOPBACK, 1)))
            .and_then(|()| {
                guard.set(
                    0,
                    &GuardSettings {
                        flags: tcp.cookie_flags(),
                        window_scale: tcp.window_scale(),
                        ..GuardSettings::DEFAULT
                    },
                )
            })
            .and_then(|()| {
                settings.set(
                    0,
                    &Settings {
                        mode: mode::SAMPLE_OFF,
                        guard: GuardMode::Mitigate as u32,
                        destinations: 1,
                        ..Settings::default()
                    },
                )
            })
            .map_err(|source| refused_map("the self-test's settings", source))?;
        let cpus = possible_cpus()?;
        let counters = typed(&mut object, map::DESTINATION_COUNTERS, |map| {
            PerCpuArray::new(map, cpus)
        })?;
        Ok(Self {
            program,
            destinations,
            counters,
            always: tcp.syncookies == 2,
        })
    }

    /// What the program says of the SYN that it did not answer.
    fn why(&mut self) -> &'static str {
        let Ok(counters) = self.counters.read(SLOT) else {
            return "its counters cannot be read";
        };
        let any = |of: fn(&DestinationCounters) -> u64| counters.iter().any(|cpu| of(cpu) > 0);
        if any(|cpu| cpu.cookie_no_listener) {
            "the listener was not found"
        } else if any(|cpu| cpu.cookie_queue_open) {
            "the kernel takes the listener's queue for not full"
        } else if any(|cpu| cpu.cookie_ineligible) {
            "the kernel made none"
        } else if any(|cpu| cpu.syn) {
            "something other than a listener answers there"
        } else {
            "the SYN was not seen"
        }
    }

    /// One handshake with a listener at `address`.
    fn try_family(&mut self, address: SocketAddr) -> Result<(), SelfTestError> {
        let refused = |source| SelfTestError::NoListener {
            address: address.ip(),
            source,
        };
        let listener = listen(address).map_err(refused)?;
        let server = listener.local_addr().map_err(refused)?;
        // Their ACKs carry no data, so that the listener keeps their requests in its queue. One
        // more than its length: kernels differ in what they call full. A kernel that always sends
        // cookies keeps no requests: it would hand them over as connections.
        let count = if self.always { 0 } else { BACKLOG + 1 };
        let mut fillers = Vec::new();
        for _ in 0..count {
            let filler = TcpStream::connect_timeout(&server, PATIENCE);
            fillers.push(filler.map_err(failed("connect to itself"))?);
        }
        let (socket, client) = reserve(address).map_err(failed("reserve a port"))?;
        // Of the family before.
        self.counters
            .zero(SLOT)
            .map_err(failed("clear the counters"))?;
        self.destinations
            .set(
                &DestinationKey {
                    address: mapped(server),
                    port: server.port(),
                    _pad: 0,
                },
                &Destination {
                    slot: SLOT,
                    method: Method::Cookie as u32,
                    ..Destination::default()
                },
            )
            .map_err(failed("name the destination"))?;
        let mut answer = [0; 128];
        let (verdict, len) = sys::test_run(self.program.as_fd(), &syn(client, server), &mut answer)
            .map_err(failed("run the program"))?;
        if verdict != XDP_TX {
            let why = self.why();
            return Err(SelfTestError::NotAnswered {
                server,
                verdict,
                why,
            });
        }
        let at = ETHERNET + ip_len(server) + 4;
        let cookie = answer
            .get(..len)
            .and_then(|answer| answer.get(at..)?.first_chunk())
            .map(|bytes| u32::from_be_bytes(*bytes))
            .ok_or(SelfTestError::NotAnswered {
                server,
                verdict,
                why: "the answer is too short",
            })?;
        acknowledge(&socket, server, cookie).map_err(failed("send the ACK"))?;
        let is_accepted = accepts(&listener, client).map_err(failed("accept"))?;
        // Back in repair mode it vanishes without a word; what the other end says then is refused.
        repair(&socket, true).map_err(failed("end the connection"))?;
        drop(socket);
        match is_accepted {
            Some(_accepted) => Ok(()),
            None => Err(SelfTestError::NotAccepted { server }),
        }
    }
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> SelfTestError {
    move |source| SelfTestError::System { what, source }
}

/// A listener whose queue a few connections without data fill.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let fd = listener.as_raw_fd();
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, DEFER)?;
    // SAFETY: plain integers; the socket is a listener, whose backlog this replaces.
    check(unsafe { libc::listen(fd, BACKLOG) })?;
    Ok(listener)
}

/// A port that nobody else gets meanwhile, on the same address.
fn reserve(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
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
fn accepts(listener: &TcpListener, client: SocketAddr) -> io::Result<Option<TcpStream>> {
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

const ETHERNET: usize = 14;
const TCP_FLAG_SYN: u32 = 0x02;

const fn ip_len(address: SocketAddr) -> usize {
    if address.is_ipv4() { 20 } else { 40 }
}

/// As in a flow key.
fn mapped(address: SocketAddr) -> [u8; 16] {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped().octets(),
        SocketAddr::V6(v6) => v6.ip().octets(),
    }
}

/// A SYN of `client` with an MSS, in an Ethernet frame. Nobody checks its checksum.
fn syn(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let (from, to) = (mapped(client), mapped(server));
    let tcp = [
        u32::from(client.port()) << 16 | u32::from(server.port()),
        SEQUENCE,
        0,
        6 << 28 | TCP_FLAG_SYN << 16 | 0xffff,
        0,
        0x0204_05b4,
    ];
    let mut frame = vec![0; ETHERNET];
    if server.is_ipv4() {
        frame[12..].copy_from_slice(&[0x08, 0x00]);
        for word in synack::v4(&from, &to, tcp.len() * 4).0 {
            frame.extend(word.to_ne_bytes());
        }
    } else {
        frame[12..].copy_from_slice(&[0x86, 0xdd]);
        for word in synack::v6(&from, &to, tcp.len() * 4) {
            frame.extend(word.to_ne_bytes());
        }
    }
    for word in tcp {
        frame.extend(word.to_be_bytes());
    }
    frame
}

/// Lets the kernel send the ACK for a SYN-ACK with this sequence number, of the connection from
/// where `socket` is bound.
fn acknowledge(socket: &OwnedFd, server: SocketAddr, cookie: u32) -> io::Result<()> {
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
fn repair(socket: &OwnedFd, on: bool) -> io::Result<()> {
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
