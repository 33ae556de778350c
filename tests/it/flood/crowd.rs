//! A flash crowd: many clients, each from an address of its own, and no attack. No method may
//! harm it.

use sensor_ebpf::abi::Method;
use sensor_tests::flood::{Crowd, Service};
use sensor_tests::root_or_skip;

use super::Scene;

/// New connections a second, and how many of them.
const RATE: u32 = 1000;
const CLIENTS: u64 = 2000;

fn crowd_is_served(method: Method) {
    if !root_or_skip() {
        return;
    }
    let mut scene = Scene::new(Service::Http);
    for address in [scene.lab.server.ipv4(0), scene.lab.server.ipv6(0)] {
        scene.aim(address, 0);
        let guarded = scene.guard(method);
        let crowd = Crowd {
            apart: true,
            ..scene.crowd(RATE)
        };
        scene.serve(crowd, CLIENTS);
        let report = guarded.stop().expect("the guard ends");
        assert_eq!(report.accounting_error, 0, "{report:?}");
        assert!(report.counters.syn >= CLIENTS, "{report:?}");
        let limited = report.counters.source_limited + report.counters.out_of_state;
        assert_eq!(limited, 0, "{report:?}");
    }
}

#[test]
fn cookies_do_not_harm_it() {
    crowd_is_served(Method::Cookie);
}

#[test]
fn waiting_for_retransmissions_does_not_harm_it() {
    crowd_is_served(Method::Retransmission);
}

#[test]
fn limits_of_sources_do_not_harm_it() {
    crowd_is_served(Method::Rate);
}
