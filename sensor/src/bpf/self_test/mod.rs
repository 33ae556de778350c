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

mod frame;
mod socket;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::{AsFd as _, OwnedFd},
};

use sensor_ebpf::abi::{
    Destination, DestinationCounters, DestinationKey, GuardMode, GuardSettings, Method, Settings,
    device_entry, map, mode, program,
};

use self::{
    frame::{ETHERNET, ip_len, mapped, syn},
    socket::{BACKLOG, PATIENCE, accepts, acknowledge, listen, repair, reserve},
};
use super::{
    GuardTables, LoadError, TcpSettings,
    load::{load_program, open, possible_cpus, refused_map, typed},
    sys::{
        self,
        map::{Array, PerCpuArray, Table},
    },
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

impl SelfTest {
    /// Tries whether cookies work on this host. Takes as long as the verifier takes for the
    /// program, a second or more: run it on a thread of its own, in the network namespace of the
    /// devices.
    ///
    /// # Errors
    /// [`SelfTestError`]: why neither family could be tried.
    pub fn run() -> Result<Self, SelfTestError> {
        let tcp = TcpSettings::read();
        if tcp.syncookies == 0 {
            return Err(SelfTestError::Disabled);
        }
        let mut subject = Subject::load(tcp)?;
        Ok(Self {
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
