//! Lists that outlive their daemon.

use std::{net::SocketAddr, time::Duration};

use sensor_tests::flood::Crowd;
use sensor_tests::{Generator, Sensor, Sources, StreamSpec, root_or_skip, until};
use serde_json::Value;

use super::{FLOOD, Scene, sum};

/// Blocked packets that are waited for.
const MANY: u64 = 2000;

/// The blocked network, where the attacker's packets come from.
pub(super) const NETWORK: &str = "198.18.0.0/24";

pub(super) fn list(sensor: &Sensor, list: &str) -> Vec<Value> {
    let answer = sensor.ask(&[list, "list"]).expect("a list");
    answer["entries"].as_array().expect("entries").clone()
}

fn entry(sensor: &Sensor, target: &str) -> Value {
    let entries = list(sensor, "block");
    let found = entries.iter().find(|entry| entry["target"] == target);
    found
        .unwrap_or_else(|| panic!("{target}: {entries:?}"))
        .clone()
}

fn packets(entry: &Value) -> u64 {
    entry["packets"].as_u64().expect("a number")
}

impl Scene {
    /// Waits until many more packets have come from the blocked network.
    pub(super) fn hears_more(&self) {
        let heard = || self.lab.server.counters().expect("counters").rx_packets;
        let before = heard();
        until("more packets", || (heard() >= before + MANY).then_some(())).expect("packets");
    }

    /// SYNs from the blocked network.
    pub(super) fn blocked_flood(&self, target: SocketAddr) -> Generator {
        let spec = StreamSpec {
            sources: Sources::Network,
            rate: Some(FLOOD),
            ..StreamSpec::syns(target, self.lab.server.mac())
        };
        Generator::start(&self.lab.wire, "ws", &spec).expect("a flood")
    }

    /// Waits until a client of the host's own address is served.
    fn is_served_at_last(&self, target: SocketAddr) {
        until("a served client", || {
            let crowd = Crowd {
                apart: false,
                // One that is blocked still is not waited for much longer.
                patience: Duration::from_secs(3),
                ..self.crowd(target, 1)
            };
            let outcome = crowd.send(&self.lab.client, 1).expect("a client");
            (outcome.served() == 1).then_some(())
        })
        .expect("it is served");
    }
}

/// By the kernel's own count, no SYN of the blocked network reaches the listener: not while a daemon
/// stops, is killed, or is not there, nor while another one takes over.
#[test]
fn entries_ends_and_hits_outlive_a_restart_and_a_kill() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new(&format!(
        "[guard]\nmode = \"off\"\n[lists]\nblock = [\"{NETWORK}\", \"203.0.113.0/24\"]\n\
         [pin]\nenabled = true\npath = \"PINS\"\n"
    ));
    scene.count_syns();
    let target: SocketAddr = (scene.lab.server.ipv4(0), 80).into();
    let client = scene.lab.client.ipv4(0).to_string();

    let first = scene.start();
    let reached = scene.reached().expect("counters");
    let lost = scene.lost();
    let flood = scene.blocked_flood(target);
    scene.hears_more();
    let ask = |sensor: &Sensor, words: &[&str]| sensor.ask(words).expect("an answer");
    // In the middle of the others, so that counters do not come in the order of targets.
    let reason = ["--for", "1h", "--reason", "a test"];
    ask(
        &first,
        &[&["block", "add", "192.0.2.7"], &reason[..]].concat(),
    );
    ask(&first, &["allow", "add", "udp/53"]);
    ask(&first, &["block", "add", "2001:db8::/32", "--dry-run"]);
    let mut shown = entry(&first, NETWORK);
    assert!(packets(&shown) >= MANY, "{shown}");
    let since = entry(&first, "192.0.2.7")["since"].clone();

    // The client's block ends while nobody is there to end it.
    ask(&first, &["block", "add", &client, "--for", "5s"]);
    let first = first.stop().expect("it ends");
    assert!(first.status.success(), "{}", first.messages);
    scene.hears_more();
    assert_eq!(scene.reached().expect("counters"), reached);
    scene.is_served_at_last(target);
    let reached = scene.reached().expect("counters");

    let mut second = scene.start();
    let kept = list(&second, "block");
    assert_eq!(kept.len(), 4, "{kept:?}");
    let before = packets(&shown);
    shown = entry(&second, NETWORK);
    assert!(packets(&shown) >= before + MANY, "{before}: {shown}");
    scene.hears_more();
    second.signal(libc::SIGKILL);
    second.end().expect("it is dead");
    scene.hears_more();

    let third = scene.start();
    scene.hears_more();
    let kept = entry(&third, "192.0.2.7");
    assert_eq!(kept["source"], "command", "{kept}");
    assert_eq!(kept["reason"], "a test", "{kept}");
    assert_eq!(kept["since"], since, "{kept}");
    let left = kept["seconds_left"].as_u64().expect("an end");
    assert!((1..3600).contains(&left), "{kept}");
    assert_eq!(entry(&third, "2001:db8::/32")["dry_run"], true);
    assert_eq!(list(&third, "allow")[0]["target"], "udp/53");
    // Of the configuration, and nothing of what others have counted.
    assert_eq!(packets(&entry(&third, "203.0.113.0/24")), 0);

    let sent = flood.stop().expect("the flood ends").frames;
    // The last of them may still wait behind the device.
    let hits = until("every frame", || {
        let hits = packets(&entry(&third, NETWORK));
        (hits + scene.lost() - lost >= sent).then_some(hits)
    });
    let hits = hits.unwrap_or_else(|error| panic!("{error}: {}", entry(&third, NETWORK)));
    assert!(hits <= sent, "{hits} of {sent}");
    assert_eq!(scene.reached().expect("counters"), reached);
    assert_eq!(sum(&third, "sensor_accounting_error_packets", &[]), 0);
    assert_eq!(sum(&third, "sensor_restart_lost_packets", &[]), 0);
    ask(&third, &["block", "del", "192.0.2.7"]);
    assert_eq!(list(&third, "block").len(), 3);
}
