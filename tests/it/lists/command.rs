//! Lists by command and by configuration, in a running sensor with real clients.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sensor_tests::{
    Lab, LabOptions, Sensor, SensorOptions, root_or_skip, sensor_binary, traffic, until,
};
use serde_json::Value;

/// A client whose SYN is dropped notices nothing: this long it is given.
const PATIENCE: Duration = Duration::from_millis(1500);

struct Scene {
    lab: Lab,
    _servers: traffic::Servers,
    sensor: Sensor,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new(config: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("sensor.toml");
        std::fs::write(&file, config)?;
        let lab = Lab::new(LabOptions::default())?;
        let servers = traffic::Servers::start(&lab.server)?;
        let sensor = Sensor::start(
            &lab.server,
            &SensorOptions {
                socket: Some(directory.path().join("control.sock")),
                args: vec!["-c".to_owned(), file.display().to_string()],
                ..SensorOptions::default()
            },
        )?;
        Ok(Self {
            lab,
            _servers: servers,
            sensor,
            directory,
        })
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `sensor WORDS --json` and returns what it answers.
    fn ask(&self, words: &[&str]) -> Result<Value> {
        ask(&self.path("control.sock"), words)
    }

    /// Whether the client is served.
    fn is_served(&self, server: IpAddr) -> Result<bool> {
        let got = self.lab.client.block_on(async {
            let get = traffic::http_get((server, 80).into(), "lab.example", "/bytes/5000");
            tokio::time::timeout(PATIENCE, get).await
        })?;
        match got {
            Ok(answer) => {
                let (status, body) = answer?;
                ensure!((status, body.len()) == (200, 5000), "{status}");
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }

    fn accounting_error(&self) -> Result<f64> {
        self.sensor.sum("sensor_accounting_error_packets", &[])
    }
}

fn ask(socket: &Path, words: &[&str]) -> Result<Value> {
    let output = std::process::Command::new(sensor_binary())
        .args(words)
        .arg("--json")
        .arg("--socket")
        .arg(socket)
        .output()?;
    let messages = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words:?}: {messages}");
    serde_json::from_slice(&output.stdout).context("no JSON")
}

#[test]
fn a_client_is_blocked_and_unblocked_by_command() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let scene = Scene::new("")?;
    let (client, server) = (&scene.lab.client, &scene.lab.server);
    for vlan in [0, 20] {
        for (from, to) in [
            (client.ipv4(vlan), server.ipv4(vlan)),
            (client.ipv6(vlan), server.ipv6(vlan)),
        ] {
            assert!(scene.is_served(to)?, "{to}");
            let target = from.to_string();
            let added =
                scene.ask(&["block", "add", &target, "--for", "1h", "--reason", "a test"])?;
            assert_eq!(added["added"], 1, "{added}");
            assert!(!scene.is_served(to)?, "{to}");
            let list = scene.ask(&["block", "list"])?;
            let entry = &list["entries"][0];
            assert_eq!(list["total"], 1, "{list}");
            assert_eq!(entry["target"], target.as_str(), "{list}");
            assert_eq!(entry["reason"], "a test", "{list}");
            assert!(entry["packets"].as_u64() > Some(0), "{list}");
            assert!(entry["seconds_left"].as_u64() > Some(3000), "{list}");
            // Allowing wins, also over a block of everything.
            scene.ask(&["allow", "add", &target])?;
            assert!(scene.is_served(to)?, "{to}");
            scene.ask(&["allow", "del", &target])?;
            assert!(!scene.is_served(to)?, "{to}");
            scene.ask(&["pass", "on"])?;
            assert!(scene.is_served(to)?, "{to}");
            scene.ask(&["pass", "off"])?;
            scene.ask(&["block", "del", &target])?;
            assert!(scene.is_served(to)?, "{to}");
        }
    }
    let refused = scene.ask(&["block", "del", "192.0.2.1"]).unwrap_err();
    let expected = "192.0.2.1 is not on the block list";
    assert!(refused.to_string().contains(expected), "{refused}");
    assert_eq!(scene.accounting_error()?, 0.0);
    let dropped = scene.sensor.sum(
        "sensor_xdp_dropped_packets_total",
        &["reason=\"block_address\""],
    )?;
    assert!(dropped > 0.0);
    assert!(scene.sensor.messages().contains("a test"), "it is logged");
    Ok(())
}

#[test]
fn a_dry_run_and_an_ended_entry_drop_nothing() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let scene = Scene::new("")?;
    let to = scene.lab.server.ipv4(0);
    scene.ask(&["block", "add", "10.77.0.0/24", "tcp/80", "--dry-run"])?;
    assert!(scene.is_served(to)?);
    let list = scene.ask(&["block", "list", "10.77.0.1"])?;
    assert_eq!(list["total"], 1, "{list}");
    assert!(list["entries"][0]["packets"].as_u64() > Some(0), "{list}");
    until("the would-be drops", || {
        let reason = "reason=\"block_prefix\"";
        let name = "sensor_xdp_would_drop_packets_total";
        let would = scene.sensor.sum(name, &[reason]).ok()?;
        (would > 0.0).then_some(())
    })?;
    scene.ask(&["block", "add", "10.77.0.1", "--for", "1s"])?;
    until("the entry's end", || {
        let entries = scene.sensor.sum("sensor_list_entries", &["list=\"block\""]);
        (entries.ok()? == 2.0).then_some(())
    })?;
    assert!(scene.is_served(to)?);
    assert_eq!(scene.accounting_error()?, 0.0);
    Ok(())
}

#[test]
fn a_feed_is_read_again_at_a_reload_and_a_broken_one_keeps_its_entries() -> Result<()> {
    if !root_or_skip() {
        return Ok(());
    }
    let feeds = tempfile::tempdir()?;
    let feed = feeds.path().join("feed.txt");
    std::fs::write(&feed, "# nothing yet\n198.51.100.0/24\n")?;
    let mut scene = Scene::new(&format!("[lists]\nfeeds = [{feed:?}]\n"))?;
    let to = scene.lab.server.ipv4(0);
    assert!(scene.is_served(to)?);
    let entries = |scene: &Scene| scene.sensor.sum("sensor_list_entries", &["list=\"block\""]);
    assert_eq!(entries(&scene)?, 1.0);
    std::fs::write(&feed, "10.77.0.1 ; the client\n198.51.100.0/24\nnonsense\n")?;
    scene.sensor.signal(libc::SIGHUP);
    until("the new feed", || {
        (entries(&scene).ok()? == 2.0).then_some(())
    })?;
    assert!(!scene.is_served(to)?);
    let refused = scene.ask(&["block", "del", "10.77.0.1"]).unwrap_err();
    assert!(refused.to_string().contains("by the feed"), "{refused}");
    assert!(
        scene.sensor.messages().contains("skipped=1"),
        "{}",
        scene.sensor.messages()
    );
    std::fs::remove_file(&feed)?;
    scene.sensor.signal(libc::SIGHUP);
    until("the failure", || {
        let good = scene
            .sensor
            .sum("sensor_config_last_reload_successful", &[]);
        (good.ok()? == 0.0).then_some(())
    })?;
    assert_eq!(entries(&scene)?, 2.0);
    assert!(!scene.is_served(to)?);
    // Away with the section: what it listed goes.
    std::fs::write(scene.path("sensor.toml"), "")?;
    scene.sensor.signal(libc::SIGHUP);
    until("empty lists", || {
        (entries(&scene).ok()? == 0.0).then_some(())
    })?;
    assert!(scene.is_served(to)?);
    assert_eq!(scene.accounting_error()?, 0.0);
    Ok(())
}
