//! Clients through a SYN flood: every method of the guard, armed from the start, between real
//! programs and listeners. Floods are modest and short; what they cost, `cargo xtask bench flood`
//! measures. All of it needs root.
//!
//! Nothing here depends on how fast the machine is: clients wait as long as a test may take, and
//! what the device's queue had no room for is allowed for.

mod cookie;
mod crowd;
mod rate;
mod retransmission;
mod settings;
mod strays;
mod unharmed;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sensor_ebpf::abi::Method;
use sensor_tests::flood::{
    Crowd, GuardReport, GuardSpec, Guarded, ListenOptions, Listener, Outcome, Service,
};
use sensor_tests::{DEADLINE, Generator, Lab, LabOptions, Sources, StreamSpec, until};

/// SYNs a second. At this rate the device's queue lasts for 50 ms without service.
const FLOOD: u64 = 5000;

/// Frames that a flood has sent before a test goes on: more than any queue of half-open
/// connections in these tests holds.
const SWING: u64 = 1000;

/// Connections that a listener keeps waiting: few, so that its queue is soon full.
const BACKLOG: u32 = 128;

/// A lab with a server.
struct Scene {
    lab: Lab,
    listener: Option<Listener>,
    service: Service,
    /// What clients and attacker go for.
    target: SocketAddr,
    vlan: u8,
}

impl Scene {
    fn new(service: Service) -> Self {
        Self::with(LabOptions::default(), service)
    }

    fn with(options: LabOptions, service: Service) -> Self {
        let lab = Lab::new(options).expect("the lab is laid");
        let target = SocketAddr::new(lab.server.ipv4(0), service.port());
        let mut scene = Self {
            lab,
            listener: None,
            service,
            target,
            vlan: 0,
        };
        scene.listen();
        scene
    }

    fn listen(&mut self) {
        let options = ListenOptions {
            backlog: BACKLOG,
            ..ListenOptions::default()
        };
        let listener = Listener::start(&self.lab.server, self.service, options);
        self.listener = Some(listener.expect("a server"));
    }

    fn aim(&mut self, address: IpAddr, vlan: u8) {
        self.target.set_ip(address);
        self.vlan = vlan;
    }

    fn guard(&self, method: Method) -> Guarded {
        self.guard_by(GuardSpec::new(method, [self.target]))
    }

    fn guard_by(&self, spec: GuardSpec) -> Guarded {
        Guarded::start(&self.lab.server, spec).expect("the guard is armed")
    }

    /// A flood in full swing.
    fn flood(&self, sources: Sources) -> Generator {
        let spec = StreamSpec {
            vlan: self.vlan,
            sources,
            rate: Some(FLOOD),
            ..StreamSpec::syns(self.target, self.lab.server.mac())
        };
        let flood = Generator::start(&self.lab.wire, "ws", &spec).expect("a flood");
        until("the flood is in full swing", || {
            (flood.sent() >= SWING).then_some(())
        })
        .expect("a flood");
        flood
    }

    fn crowd(&self, rate: u32) -> Crowd {
        Crowd {
            patience: DEADLINE,
            ..Crowd::new(self.target.ip(), self.service, rate)
        }
    }

    /// Sends clients and asserts that each was served, but for those that may have lost a packet
    /// to the queue.
    #[track_caller]
    fn serve(&self, crowd: Crowd, number: u64) -> Outcome {
        let before = self.lost();
        let outcome = crowd.send(&self.lab.client, number).expect("clients");
        let lost = self.lost() - before;
        assert!(
            outcome.served() + lost >= number,
            "lost {lost}: {outcome:?}"
        );
        assert_ne!(outcome.served(), 0, "lost {lost}: {outcome:?}");
        outcome
    }

    /// Connections that the server's kernel has opened because of a cookie.
    fn cookies_accepted(&self) -> u64 {
        let counted = self.lab.server.tcp_counter("SyncookiesRecv");
        counted.expect("a counter")
    }

    /// Packets that queues had no room for, in both directions.
    fn lost(&self) -> u64 {
        self.lab.lost().expect("counters")
    }
}

/// Ends flood and guard, and asserts what holds for every method: the law of accounting, and that
/// each SYN met one fate.
#[track_caller]
fn settle(flood: Generator, guarded: Guarded) -> GuardReport {
    let sent = flood.stop().expect("the flood ends");
    let report = guarded.stop().expect("the guard ends");
    assert_eq!(report.accounting_error, 0, "{sent:?}: {report:?}");
    let counters = &report.counters;
    let fates = counters.passed
        + counters.cookies
        + counters.first_dropped
        + counters.source_limited
        + counters.destination_limited
        + counters.synack_limited;
    assert_eq!(counters.syn, fates, "{report:?}");
    assert!(counters.syn > 0, "{sent:?}: {report:?}");
    report
}

/// A little while, for what shall happen meanwhile.
const WHILE: Duration = Duration::from_millis(500);
