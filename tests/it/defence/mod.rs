//! The whole sensor between real clients and a SYN flood: nothing but `sensor run` tells the kernel
//! what to do. All of it needs root.
//!
//! As in [`super::flood`], nothing here depends on how fast the machine is.

mod capabilities;
mod clients;
mod lists;
mod restart;
mod upgrade;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Result;
use sensor_tests::flood::{Crowd, ListenOptions, Listener, Outcome, Service};
use sensor_tests::{
    BpfFs, DEADLINE, Generator, Lab, LabOptions, Sensor, SensorOptions, Sources, StreamSpec, until,
};
use serde_json::Value;
use tempfile::TempDir;

/// SYNs a second: several times what the guard arms at, however the machine falters.
const FLOOD: u64 = 5000;

/// Connections that the listener keeps waiting: few, so that its queue is soon full.
const BACKLOG: u32 = 128;

/// A lab with a web server, and what its sensor is started with.
struct Scene {
    lab: Lab,
    _listener: Listener,
    file_system: BpfFs,
    directory: TempDir,
    options: SensorOptions,
}

impl Scene {
    /// `config` as in `sensor.toml`; `PINS` in it stands for a folder on a BPF file system.
    fn new(config: &str) -> Self {
        let lab = Lab::new(LabOptions::default()).expect("the lab is laid");
        let options = ListenOptions {
            backlog: BACKLOG,
            ..ListenOptions::default()
        };
        let listener = Listener::start(&lab.server, Service::Http, options).expect("a server");
        let file_system = BpfFs::mount().expect("a BPF file system");
        let directory = sensor_tests::scratch().expect("a directory");
        let mut scene = Self {
            lab,
            _listener: listener,
            file_system,
            directory,
            options: SensorOptions::default(),
        };
        let file = scene.configure(config).display().to_string();
        scene.options.args = vec!["-c".to_owned(), file];
        scene
    }

    /// Writes the configuration; where it lies.
    fn configure(&self, config: &str) -> PathBuf {
        let file = self.directory.path().join("sensor.toml");
        let pins = self.file_system.folder().display().to_string();
        std::fs::write(&file, config.replace("PINS", &pins)).expect("a file");
        file
    }

    fn start(&self) -> Sensor {
        Sensor::start(&self.lab.server, &self.options).expect("the sensor starts")
    }

    fn flood(&self, target: SocketAddr) -> Generator {
        let spec = StreamSpec {
            sources: Sources::Everywhere,
            rate: Some(FLOOD),
            ..StreamSpec::syns(target, self.lab.server.mac())
        };
        Generator::start(&self.lab.wire, "ws", &spec).expect("a flood")
    }

    fn crowd(&self, target: SocketAddr, rate: u32) -> Crowd {
        Crowd {
            patience: DEADLINE,
            apart: true,
            ..Crowd::new(target.ip(), Service::Http, rate)
        }
    }

    /// Sends clients to be served.
    #[track_caller]
    fn serve(&self, target: SocketAddr, number: u64) {
        let before = self.lost();
        let crowd = self.crowd(target, 50);
        let outcome = crowd.send(&self.lab.client, number).expect("clients");
        self.all_served(&outcome, before);
    }

    /// Asserts that all were served, but for those that may have lost a packet to the queue.
    #[track_caller]
    fn all_served(&self, outcome: &Outcome, lost_before: u64) {
        let lost = self.lost() - lost_before;
        assert_ne!(outcome.served(), 0, "lost {lost}: {outcome:?}");
        assert!(
            outcome.served() + lost >= outcome.all(),
            "lost {lost}: {outcome:?}"
        );
    }

    /// Makes the kernel answer every SYN that reaches a listener by a cookie, which it counts; not one
    /// that meets a connection in TIME_WAIT, so that there shall be none (`tcp_conn_request`).
    fn count_syns(&self) {
        let network = &self.lab.server.namespace;
        for (name, value) in [("tcp_syncookies", 2), ("tcp_max_tw_buckets", 0)] {
            network
                .set_sysctl(&format!("net/ipv4/{name}"), value)
                .expect("a setting");
        }
    }

    /// After [`Scene::count_syns`], SYNs that came to the listener from outside by the kernel's own
    /// count: those that cookies answered, but for the successful connections on loopback, to the
    /// sensor's metrics.
    fn reached(&self) -> Result<i64> {
        let of = |name| Ok::<_, anyhow::Error>(self.lab.server.tcp_counter(name)?.cast_signed());
        Ok(of("SyncookiesSent")? - (of("ActiveOpens")? - of("AttemptFails")?))
    }

    fn lost(&self) -> u64 {
        self.lab.lost().expect("counters")
    }
}

fn sum(sensor: &Sensor, name: &str, labels: &[&str]) -> u64 {
    sensor.sum(name, labels).expect("a metric") as u64
}

/// What `sensor status` says of a destination; nothing if it is not watched.
fn destination(sensor: &Sensor, target: SocketAddr) -> Option<Value> {
    let status = sensor.ask(&["status"]).expect("a status");
    let rows = status["guard"]["destinations"].as_array().expect("rows");
    let mut rows = rows.iter();
    let row =
        rows.find(|row| is_address(&row["address"], target.ip()) && row["port"] == target.port());
    row.cloned()
}

/// Whether an event's text is that address: EVE writes those of IPv6 in full.
fn is_address(text: &Value, address: IpAddr) -> bool {
    text.as_str().and_then(|text| text.parse().ok()) == Some(address)
}

/// Waits until a destination is defended by a method.
#[track_caller]
fn until_defended(sensor: &Sensor, target: SocketAddr, method: &str) {
    until(method, || {
        let row = destination(sensor, target)?;
        (row["state"] == "mitigating" && row["method"] == method).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", sensor.messages()));
}

/// Alerts about a destination with a signature.
fn alerts(sensor: &Sensor, signature: &str, target: SocketAddr) -> Vec<Value> {
    let events = sensor.events();
    let about = events.into_iter().filter(|event| {
        event["alert"]["signature"] == signature && is_address(&event["dest_ip"], target.ip())
    });
    about.collect()
}
