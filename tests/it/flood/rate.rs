//! Rate limits: for sources that do not pretend to be others, and as the last resort.

use sensor_ebpf::abi::Method;
use sensor_tests::flood::{Crowd, GuardSpec, Service};
use sensor_tests::{Sources, VLANS, root_or_skip};

use super::{Scene, settle};

const CLIENTS: u64 = 12;

#[test]
fn clients_are_served_through_a_flood_from_one_source_and_from_a_network() {
    if !root_or_skip() {
        return;
    }
    let mut scene = Scene::new(Service::Http);
    let rounds = [
        (scene.lab.server.ipv4(0), 0, Sources::One),
        (scene.lab.server.ipv6(0), 0, Sources::One),
        (scene.lab.server.ipv4(VLANS[0]), VLANS[0], Sources::One),
        (scene.lab.server.ipv4(0), 0, Sources::Network),
        (scene.lab.server.ipv6(0), 0, Sources::Network),
    ];
    for (address, vlan, sources) in rounds {
        scene.aim(address, vlan);
        let mut spec = GuardSpec::new(Method::Rate, [scene.target]);
        if sources == Sources::Network {
            // The flood's share of each of 256 addresses is several times that. Clients, all of
            // one address, then have to try more than once.
            spec.settings.source_per_second = 4;
            spec.settings.source_burst = 4;
        }
        let guarded = scene.guard_by(spec);
        let flood = scene.flood(sources);
        scene.serve(scene.crowd(4), CLIENTS);
        let report = settle(flood, guarded);
        let counters = report.counters;
        assert!(counters.source_limited > 0, "{sources:?}: {report:?}");
        assert_eq!(
            report.ingress.dropped, counters.source_limited,
            "{report:?}"
        );
    }
}

#[test]
fn a_destination_gets_no_more_than_its_limit() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new(Service::Http);
    let mut spec = GuardSpec::new(Method::Rate, [scene.target]);
    spec.syn_per_second = 100;
    let guarded = scene.guard_by(spec);
    let flood = scene.flood(Sources::Everywhere);
    // Who gets in is a matter of luck.
    let crowd = Crowd::new(scene.target.ip(), Service::Http, 5);
    let outcome = crowd.send(&scene.lab.client, 5).expect("clients");
    let sent = flood.stop().expect("the flood ends");
    let report = guarded.stop().expect("the guard ends");
    assert_eq!(report.accounting_error, 0, "{outcome:?}: {report:?}");
    let counters = report.counters;
    assert!(counters.destination_limited > 0, "{outcome:?}: {report:?}");
    // Whole SYNs in each window of 134 ms, on a clock that may be a window off at both ends.
    let most = (sent.elapsed.as_secs_f64() / 0.134 + 3.0) * 14.0;
    assert!((counters.passed as f64) < most, "{most}: {report:?}");
}
