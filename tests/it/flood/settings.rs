//! The system's settings decide what a cookie can carry, and when the kernel makes one.

use sensor_ebpf::abi::Method;
use sensor_tests::flood::{Service, tcp_option};
use sensor_tests::{Sources, root_or_skip};

use super::{Scene, settle};

const CLIENTS: u64 = 30;

/// What a cookie carries only within a timestamp.
const CARRIED: u8 = tcp_option::TIMESTAMPS | tcp_option::SACK | tcp_option::WINDOW_SCALE;

fn clients_are_served(timestamps: u8) {
    if !root_or_skip() {
        return;
    }
    let mut scene = Scene::new(Service::Http);
    let server = scene.lab.server.clone();
    let network = &server.namespace;
    network
        .set_sysctl("net/ipv4/tcp_timestamps", timestamps)
        .expect("a setting");
    for cookies in [1, 2] {
        network
            .set_sysctl("net/ipv4/tcp_syncookies", cookies)
            .expect("a setting");
        for address in [server.ipv4(0), server.ipv6(0)] {
            scene.aim(address, 0);
            let guarded = scene.guard(Method::Cookie);
            let flood = scene.flood(Sources::Everywhere);
            let before = scene.cookies_accepted();
            let outcome = scene.serve(scene.crowd(50), CLIENTS);
            assert!(scene.cookies_accepted() > before, "{outcome:?}");
            let report = settle(flood, guarded);
            let counters = report.counters;
            // With 2 the kernel makes cookies although the queue has room; with 1 the queue may
            // still be full of the flood before.
            if cookies == 2 {
                assert_eq!(counters.cookie_queue_open, 0, "{report:?}");
                let carried = if timestamps == 2 { CARRIED } else { 0 };
                assert_eq!(outcome.options & CARRIED, carried, "{outcome:?}");
            }
        }
    }
}

#[test]
fn without_timestamps() {
    clients_are_served(0);
}

#[test]
fn with_timestamps_from_a_random_start() {
    clients_are_served(1);
}

#[test]
fn with_timestamps_from_zero() {
    clients_are_served(2);
}
