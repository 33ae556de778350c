//! Retransmission: the first SYN of an unknown client is dropped, the second one passes.

use std::time::Duration;

use sensor_ebpf::abi::Method;
use sensor_tests::flood::{Crowd, Service};
use sensor_tests::{Sources, VLANS, root_or_skip};

use super::{Scene, settle};

const CLIENTS: u64 = 30;

#[test]
fn who_tries_again_is_served_and_known_from_then_on() {
    if !root_or_skip() {
        return;
    }
    for (service, vlan, sources) in [
        (Service::Http, 0, Sources::Everywhere),
        (Service::Smtp, 0, Sources::Network),
        (Service::Ssh, VLANS[0], Sources::One),
    ] {
        let mut scene = Scene::new(service);
        for address in [scene.lab.server.ipv4(vlan), scene.lab.server.ipv6(vlan)] {
            scene.aim(address, vlan);
            let guarded = scene.guard(Method::Retransmission);
            let flood = scene.flood(sources);
            let strangers = scene.serve(scene.crowd(50), CLIENTS);
            let acquainted = scene.serve(scene.crowd(50), CLIENTS);
            let report = settle(flood, guarded);
            let counters = report.counters;
            // The system retransmits after a second.
            let slowest = strangers.connected_within(1.0).expect("one was served");
            assert!(slowest >= Duration::from_millis(700), "{strangers:?}");
            assert!(counters.retransmission_admitted > 0, "{report:?}");
            assert!(counters.known_admitted > 0, "{acquainted:?}: {report:?}");
            assert!(counters.first_dropped > 0, "{report:?}");
            assert_eq!(report.ingress.dropped, counters.first_dropped, "{report:?}");
            assert_eq!(report.ingress.transmitted, 0, "{report:?}");
        }
    }
}

#[test]
fn the_impatient_are_served_once_a_patient_client_was() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new(Service::Http);
    let guarded = scene.guard(Method::Retransmission);
    let flood = scene.flood(Sources::Everywhere);
    scene.serve(scene.crowd(10), 1);
    let crowd = Crowd {
        impatience: Some(Duration::from_millis(300)),
        ..scene.crowd(50)
    };
    scene.serve(crowd, CLIENTS);
    let report = settle(flood, guarded);
    assert!(report.counters.known_admitted >= CLIENTS, "{report:?}");
}
