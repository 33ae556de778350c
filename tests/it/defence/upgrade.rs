//! Lists over starts that do not go as they should: with other sizes, some of which fail, and with
//! feeds that cannot be read any more.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use sensor_tests::{Ended, Sensor, root_or_skip, until};
use serde_json::Value;

use super::lists::{NETWORK, list};
use super::{Scene, sum};

/// Where the sensor's metrics are by default.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 19100);

impl Scene {
    /// A scene whose listener counts what reaches it.
    fn counting() -> Self {
        let scene = Self::new("");
        scene.count_syns();
        scene
    }

    /// Lists that outlive their daemon, beside flow tables of that size.
    fn configure_lists(&self, lists: &str, capacity: u32) {
        self.configure(&format!(
            "[guard]\nmode = \"off\"\n[lists]\n{lists}\n[flows]\ncapacity = {capacity}\n\
             [pin]\nenabled = true\npath = \"PINS\"\n"
        ));
    }

    /// A start that fails.
    #[track_caller]
    fn fail(&self, args: &[&str]) -> Ended {
        let mut options = self.options.clone();
        options
            .args
            .extend(args.iter().map(|arg| (*arg).to_owned()));
        let sensor = Sensor::spawn(&self.lab.server, &options).expect("it is started");
        let ended = sensor.end().expect("it ends");
        assert_eq!(ended.status.code(), Some(1), "{}", ended.messages);
        ended
    }

    fn target(&self) -> SocketAddr {
        (self.lab.server.ipv4(0), 80).into()
    }
}

fn targets(sensor: &Sensor) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    let mut targets: Vec<_> = list(sensor, "block")
        .iter()
        .map(|entry| format!("{} by {}", text(&entry["target"]), text(&entry["source"])))
        .collect();
    targets.sort();
    targets
}

/// One start fails before it attaches anything, the next after the first device: neither costs what
/// commands have listed, and no packet of the blocked network passes meanwhile.
#[test]
fn commands_entries_outlive_an_upgrade_whose_first_starts_fail() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::counting();
    scene.configure_lists("", 8192);
    let first = scene.start();
    let ask = |words: &[&str]| first.ask(words).expect("an answer");
    ask(&["block", "add", NETWORK, "--for", "1h", "--reason", "a test"]);
    ask(&["block", "add", "192.0.2.7"]);
    let expected = targets(&first);
    assert_eq!(expected.len(), 2);
    let reached = scene.reached().expect("counters");
    let flood = scene.blocked_flood(scene.target());
    scene.hears_more();
    first.stop().expect("it ends");
    scene.configure_lists("", 16_384);

    let namespace = &scene.lab.server.namespace;
    let taken = namespace.enter(|| TcpListener::bind(METRICS));
    let taken = taken.expect("a thread").expect("a port");
    let failed = scene.fail(&[]);
    assert!(failed.messages.contains("19100"), "{}", failed.messages);
    drop(taken);
    scene.hears_more();
    let failed = scene.fail(&["-i", "nope0"]);
    assert!(failed.messages.contains("nope0"), "{}", failed.messages);
    scene.hears_more();

    let last = scene.start();
    scene.hears_more();
    flood.stop().expect("the flood ends");
    assert_eq!(scene.reached().expect("counters"), reached);
    assert_eq!(targets(&last), expected);
    assert_eq!(sum(&last, "sensor_accounting_error_packets", &[]), 0);
    assert_eq!(sum(&last, "sensor_restart_lost_packets", &[]), 0);
}

/// Neither with the same sizes nor with others does a start take a feed out of force that it cannot
/// read.
#[test]
fn a_feed_that_is_gone_at_a_start_stays_in_force_until_it_is_back() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::counting();
    let feed = scene.directory.path().join("feed.txt");
    std::fs::write(&feed, format!("{NETWORK}\n203.0.113.1\n")).expect("a file");
    let lists = format!("feeds = [{feed:?}]\nblock = [\"192.0.2.7\"]");
    scene.configure_lists(&lists, 8192);
    let first = scene.start();
    let reached = scene.reached().expect("counters");
    let flood = scene.blocked_flood(scene.target());
    scene.hears_more();
    first.stop().expect("it ends");

    std::fs::remove_file(&feed).expect("a file");
    for capacity in [8192, 16_384] {
        scene.configure_lists(&lists, capacity);
        let sensor = scene.start();
        scene.hears_more();
        let mut kept =
            [NETWORK, "203.0.113.1"].map(|one| format!("{one} by feeds before the restart"));
        kept.sort();
        let listed = targets(&sensor);
        assert_eq!(
            listed,
            [&["192.0.2.7 by config".to_owned()], &kept[..]].concat()
        );
        let messages = sensor.stop().expect("it ends").messages;
        assert!(
            messages.contains("stays until all of them can be read"),
            "{messages}"
        );
    }
    assert_eq!(scene.reached().expect("counters"), reached);

    let mut last = scene.start();
    std::fs::write(&feed, "203.0.113.2\n").expect("a file");
    last.signal(libc::SIGHUP);
    until("what the feed holds now", || {
        let expected = [
            "192.0.2.7 by config".to_owned(),
            format!("203.0.113.2 by feed {}", feed.display()),
        ];
        (targets(&last) == expected).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", targets(&last)));
    flood.stop().expect("the flood ends");
    assert_eq!(sum(&last, "sensor_accounting_error_packets", &[]), 0);
}
