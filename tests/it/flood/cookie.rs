//! Cookies: the flood is answered in the driver, and clients do not notice.

use sensor_ebpf::abi::Method;
use sensor_tests::flood::{Crowd, Service};
use sensor_tests::{LabOptions, Sources, VLANS, root_or_skip};

use super::{Scene, WHILE, settle};

/// Clients of one round.
const CLIENTS: u64 = 30;

#[test]
fn clients_of_every_service_are_served_through_floods_from_anywhere() {
    if !root_or_skip() {
        return;
    }
    for service in Service::ALL {
        let mut scene = Scene::new(service);
        let rounds = [
            (scene.lab.server.ipv4(0), Sources::Everywhere),
            (scene.lab.server.ipv6(0), Sources::Everywhere),
            (scene.lab.server.ipv4(0), Sources::Network),
            (scene.lab.server.ipv6(0), Sources::One),
        ];
        for (address, sources) in rounds {
            scene.aim(address, 0);
            let guarded = scene.guard(Method::Cookie);
            let flood = scene.flood(sources);
            let before = scene.cookies_accepted();
            scene.serve(scene.crowd(50), CLIENTS);
            assert!(
                scene.cookies_accepted() > before,
                "{service:?}, {sources:?}"
            );
            let report = settle(flood, guarded);
            let counters = report.counters;
            assert!(counters.cookies > 0, "{service:?}, {sources:?}: {report:?}");
            assert_eq!(report.ingress.syncookies, counters.cookies, "{report:?}");
            assert_eq!(report.ingress.transmitted, counters.cookies, "{report:?}");
            assert_eq!(report.ingress.dropped, 0, "{report:?}");
        }
    }
}

/// Clients are served under a flood, some of them by a cookie.
#[track_caller]
fn serve_by_cookies(scene: &Scene) {
    let guarded = scene.guard(Method::Cookie);
    let flood = scene.flood(Sources::Everywhere);
    let before = scene.cookies_accepted();
    scene.serve(scene.crowd(50), CLIENTS);
    assert!(scene.cookies_accepted() > before);
    settle(flood, guarded);
}

#[test]
fn a_tag_comes_back() {
    if !root_or_skip() {
        return;
    }
    let vlan = VLANS[0];
    let mut scene = Scene::new(Service::Http);
    for address in [scene.lab.server.ipv4(vlan), scene.lab.server.ipv6(vlan)] {
        scene.aim(address, vlan);
        serve_by_cookies(&scene);
    }
}

#[test]
fn large_segments_are_cut_to_what_a_cookie_carries() {
    if !root_or_skip() {
        return;
    }
    let options = LabOptions {
        mtu: Some(3400),
        ..LabOptions::default()
    };
    let mut scene = Scene::with(options, Service::Http);
    for address in [scene.lab.server.ipv4(0), scene.lab.server.ipv6(0)] {
        scene.aim(address, 0);
        serve_by_cookies(&scene);
    }
}

#[test]
fn impatient_clients_do_not_notice() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new(Service::Http);
    let guarded = scene.guard(Method::Cookie);
    let flood = scene.flood(Sources::Everywhere);
    let crowd = Crowd {
        impatience: Some(WHILE),
        ..scene.crowd(50)
    };
    scene.serve(crowd, CLIENTS);
    settle(flood, guarded);
}

#[test]
fn a_listener_may_close_and_come_back() {
    if !root_or_skip() {
        return;
    }
    let mut scene = Scene::new(Service::Http);
    let guarded = scene.guard(Method::Cookie);
    let flood = scene.flood(Sources::Everywhere);
    scene.serve(scene.crowd(50), CLIENTS);

    scene.listener = None;
    let refused = scene.crowd(50).send(&scene.lab.client, CLIENTS);
    let refused = refused.expect("clients");
    assert_eq!(refused.served(), 0, "nobody listens: {refused:?}");

    scene.listen();
    scene.serve(scene.crowd(50), CLIENTS);
    let report = settle(flood, guarded);
    assert!(report.counters.cookie_no_listener > 0, "{report:?}");
    assert!(report.counters.first_dropped > 0, "{report:?}");
}
