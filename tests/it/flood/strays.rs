//! Floods of segments that belong to no connection: limited and counted, while connections live on.

use sensor_ebpf::abi::Method;
use sensor_tests::flood::{Connection, GuardSpec, Service};
use sensor_tests::{Generator, Sources, StreamSpec, root_or_skip, tcp_flag, until};

use super::{FLOOD, SWING, Scene};

const CLIENTS: u64 = 30;

/// Connections that are open before the flood comes.
const ESTABLISHED: u64 = 10;

/// Strays that pass in a second.
const LIMIT: u32 = 100;

#[test]
fn segments_of_no_connection_are_limited_and_connections_are_not() {
    if !root_or_skip() {
        return;
    }
    let mut scene = Scene::new(Service::Http);
    let server = scene.lab.server.clone();
    for (address, flag) in [
        (server.ipv4(0), tcp_flag::ACK),
        (server.ipv6(0), tcp_flag::ACK),
        (server.ipv4(0), tcp_flag::RST),
        (server.ipv6(0), tcp_flag::RST),
    ] {
        scene.aim(address, 0);
        let mut spec = GuardSpec::new(Method::Cookie, [scene.target]);
        spec.settings.out_of_state_per_second = LIMIT;
        // Older than the guard, who has seen nothing of them.
        let open = || Connection::open(&scene.lab.client, scene.target, Service::Http);
        let older: Vec<_> = (0..ESTABLISHED).map(|_| open().expect("open")).collect();
        let guarded = scene.guard_by(spec);
        let younger: Vec<_> = (0..ESTABLISHED).map(|_| open().expect("open")).collect();

        let before = scene.lost();
        let spec = StreamSpec {
            tcp_flags: flag,
            sources: Sources::Everywhere,
            rate: Some(FLOOD),
            ..StreamSpec::syns(scene.target, server.mac())
        };
        let flood = Generator::start(&scene.lab.wire, "ws", &spec).expect("a flood");
        until("a flood", || (flood.sent() >= SWING).then_some(())).expect("a flood");
        for (number, connection) in (0..).zip(older.into_iter().chain(younger)) {
            connection.converse(number).expect("it lives on");
        }
        scene.serve(scene.crowd(50), CLIENTS);
        let sent = flood.stop().expect("the flood ends");
        let lost = scene.lost() - before;

        let report = guarded.stop().expect("the guard ends");
        assert_eq!(report.accounting_error, 0, "{sent:?}: {report:?}");
        let strays = report.counters.out_of_state;
        assert_eq!(report.ingress.dropped, strays, "{report:?}");
        assert!(strays <= sent.frames, "{sent:?}: {report:?}");
        // Whole segments in each window of 134 ms, on a clock that may be a window off at both
        // ends.
        let passed = sent.frames - lost.min(sent.frames) - strays;
        let most = (sent.elapsed.as_secs_f64() / 0.134 + 3.0) * 14.0;
        assert!(
            (passed as f64) < most,
            "{passed} of {sent:?}, {most}: {report:?}"
        );
        assert!(report.counters.completed >= CLIENTS, "{report:?}");
    }
}
