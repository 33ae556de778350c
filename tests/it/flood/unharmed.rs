//! What the guard must leave alone.

use sensor_ebpf::abi::{GuardMode, Method};
use sensor_tests::flood::{GuardSpec, ListenOptions, Listener, Service};
use sensor_tests::{Sources, root_or_skip};

use super::{Scene, settle};

const CLIENTS: u64 = 30;

#[test]
fn monitoring_drops_and_answers_nothing() {
    if !root_or_skip() {
        return;
    }
    for method in [Method::Cookie, Method::Retransmission, Method::Rate] {
        let scene = Scene::new(Service::Http);
        let mut spec = GuardSpec::new(method, [scene.target]);
        spec.mode = GuardMode::Monitor;
        let guarded = scene.guard_by(spec);
        let flood = scene.flood(Sources::One);
        // The kernel's own cookies let them in.
        scene.serve(scene.crowd(50), CLIENTS);
        let report = settle(flood, guarded);
        let totals = report.ingress;
        assert_eq!((totals.dropped, totals.transmitted), (0, 0), "{report:?}");
        assert_eq!(report.counters.passed, report.counters.syn, "{report:?}");
        assert!(report.counters.would_take > 0, "{method:?}: {report:?}");
        let would = totals.would_drop.iter().sum::<u64>() + totals.would_transmit;
        assert!(would > 0, "{method:?}: {report:?}");
    }
}

#[test]
fn another_port_of_the_same_host_is_not_guarded() {
    if !root_or_skip() {
        return;
    }
    let mut scene = Scene::new(Service::Http);
    let guarded = scene.guard(Method::Retransmission);
    let flood = scene.flood(Sources::Everywhere);
    let other = Listener::start(&scene.lab.server, Service::Smtp, ListenOptions::default());
    let _other = other.expect("a server");
    scene.service = Service::Smtp;
    let before = scene.lost();
    let outcome = scene.crowd(50).send(&scene.lab.client, CLIENTS);
    let outcome = outcome.expect("clients");
    let lost = scene.lost() - before;
    assert!(
        outcome.served() + lost >= CLIENTS,
        "lost {lost}: {outcome:?}"
    );
    let report = settle(flood, guarded);
    // None of the clients' SYNs was the guard's business.
    assert_eq!(report.counters.retransmission_admitted, 0, "{report:?}");
}
