//! `sensor-lab show`: the main job of `cargo xtask run`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sensor_tests::traffic::{Servers, TlsServer};
use sensor_tests::{Lab, LabOptions, Sensor, SensorOptions};

use crate::program::Program;
use crate::view::View;

/// Lays the lab, starts the sensor, plays traffic and reports each second.
///
/// # Errors
/// If the lab cannot be laid, or the sensor fails or counts wrongly.
pub(crate) fn run(binary: &Path, seconds: Option<u64>) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    // Also on SIGTERM and SIGHUP. Everything is removed by Drop; what a SIGKILL leaves is
    // nothing: children die with this process, and namespaces with their descriptors.
    ctrlc::set_handler(move || stopped.store(true, Ordering::Relaxed))?;

    let lab = Lab::new(LabOptions::default()).context("cannot lay the lab")?;
    let _servers = Servers::start(&lab.server)?;
    let tls = TlsServer::start(&lab.server);
    if let Err(error) = &tls {
        eprintln!("sensor-lab: no TLS traffic: {error:#}");
    }
    let options = SensorOptions {
        binary: Some(binary.into()),
        ..SensorOptions::default()
    };
    let mut sensor = Sensor::start(&lab.server, &options)?;
    eprintln!(
        "metrics: nsenter --net={} curl http://127.0.0.1:19100/metrics",
        lab.server.namespace.path().display()
    );

    let program = Program::start(&lab, tls.is_ok());
    let mut view = View::new();
    let start = Instant::now();
    let end = seconds.map(|seconds| start + Duration::from_secs(seconds));
    let mut next = start + Duration::from_secs(1);
    while !stop.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
        if Instant::now() >= next {
            view.events(sensor.take_events());
            view.show(&sensor.web("/metrics")?.1, start.elapsed())?;
            next += Duration::from_secs(1);
        }
        ensure!(
            sensor.is_running(),
            "the sensor ended:\n{}",
            sensor.messages()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    program.end()?;
    let ended = sensor.stop()?;
    view.events(ended.events);
    view.summary();
    ensure!(
        ended.status.success(),
        "the sensor failed:\n{}",
        ended.messages
    );
    Ok(())
}
