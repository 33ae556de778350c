//! A defence that outlives its daemon.

use std::fs;

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData, PerCpuArray};
use sensor_ebpf::abi::{DestinationCounters, map};
use sensor_tests::{Sensor, root_or_skip, until};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{Scene, alerts, destination, sum, until_defended};

const WORDS: usize = size_of::<DestinationCounters>() / 8;

/// SYNs of the flood that are waited for, with a daemon and without.
const MANY: u64 = 2000;

/// SYNs that may be between the program and the listener when both are asked: the driver hands on
/// so many frames at once. The flood sends as many in 13 ms.
const UNDER_WAY: i64 = 64;

#[derive(Clone, Copy)]
enum Death {
    Stopped,
    Killed,
}

/// What the pinned programs have counted, without asking any daemon.
#[derive(Clone, Copy)]
struct Counted {
    /// SYNs dropped or answered.
    taken: u64,
    /// SYNs let through to the listener, by right.
    admitted: i64,
}

impl Scene {
    fn counted(&self) -> Result<Counted> {
        let states = fs::read_dir(self.file_system.folder())?;
        let state = states
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| !path.ends_with("links"))
            .context("no maps")?;
        let map = MapData::from_pin(state.join(map::DESTINATION_COUNTERS))?;
        let map: PerCpuArray<_, [u64; WORDS]> = Map::PerCpuArray(map).try_into()?;
        let mut counted = Counted {
            taken: 0,
            admitted: 0,
        };
        // There is one destination, and the first slot is the first to be given.
        for cpu in map.get(&0, 0)?.iter() {
            let one = DestinationCounters::read_from_bytes(cpu.as_bytes());
            let one = one.ok().context("another size")?;
            counted.taken += one.cookies + one.first_dropped;
            let admitted = one.retransmission_admitted + one.known_admitted + one.cookie_queue_open;
            counted.admitted += admitted.cast_signed();
        }
        Ok(counted)
    }

    #[track_caller]
    fn takes_more(&self) {
        let taken = || self.counted().expect("the counters").taken;
        let before = taken();
        until("more of the flood", || {
            (taken() >= before + MANY).then_some(())
        })
        .expect("the defence goes on");
    }
}

fn is_told_over(sensor: &Sensor, target: std::net::SocketAddr) {
    until("the end of the flood", || {
        (!alerts(sensor, "SENSOR SYN flood over", target).is_empty()).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", sensor.messages()));
}

/// Clients come all the time, each from an address that nobody has seen before, while the flood
/// runs, a daemon ends, nobody is there, and another one takes over; and once more, otherwise.
fn outlives_its_daemons(method: &str) {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new(&format!(
        "[guard]\nmode = \"mitigate\"\nmethod = \"{method}\"\ncalm_seconds = 2\n\
         hold_seconds = 600\n[pin]\nenabled = true\npath = \"PINS\"\n"
    ));
    scene.count_syns();
    let target = (scene.lab.server.ipv4(0), 80).into();

    let mut sensor = scene.start();
    let flood = scene.flood(target);
    until_defended(&sensor, target, method);
    let (lost, counted_before) = (scene.lost(), scene.counted().expect("counters"));
    let reached_before = scene.reached().expect("counters");
    let clients = scene.crowd(target, 20).start(&scene.lab.client);
    scene.takes_more();
    let mut ended = Vec::new();
    for death in [Death::Stopped, Death::Killed] {
        ended.push(match death {
            Death::Stopped => sensor.stop().expect("it ends"),
            Death::Killed => {
                sensor.signal(libc::SIGKILL);
                sensor.end().expect("it is dead")
            }
        });
        scene.takes_more();
        sensor = scene.start();
        let row = destination(&sensor, target).expect("it is taken over");
        assert_eq!(row["state"], "mitigating", "{row}");
        until("what was taken over is told", || {
            let told = alerts(&sensor, "SENSOR SYN flood mitigated", target);
            let guard = &told.first()?["sensor"]["guard"];
            (guard["taken_over"] == true).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {:?}", sensor.events()));
        scene.takes_more();
        until_defended(&sensor, target, method);
        scene.takes_more();
    }

    let outcome = clients.stop().expect("clients");
    let reached = scene.reached().expect("counters") - reached_before;
    scene.all_served(&outcome, lost);
    let admitted = scene.counted().expect("counters").admitted - counted_before.admitted;
    assert!(
        reached <= admitted + UNDER_WAY,
        "{reached} SYNs reached the listener, {admitted} were to"
    );
    flood.stop().expect("the flood ends");

    is_told_over(&sensor, target);
    for (metric, value) in [
        ("sensor_accounting_error_packets", 0),
        ("sensor_syn_guard_errors_total", 0),
        ("sensor_restart_lost_packets", 0),
        ("sensor_pinned", 1),
    ] {
        assert_eq!(sum(&sensor, metric, &[]), value, "{metric}");
    }
    ended.push(sensor.stop().expect("it ends"));
    for daemon in ended {
        let broken = daemon.messages.contains("law of accounting is broken");
        assert!(!broken, "{}", daemon.messages);
    }
}

#[test]
fn cookies_outlive_a_restart_and_a_kill() {
    outlives_its_daemons("cookie");
}

#[test]
fn retransmission_outlives_a_restart_and_a_kill() {
    outlives_its_daemons("retransmission");
}
