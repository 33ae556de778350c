//! Own captures, made by real programs, with the events that they are to give.
//!
//! `captures/` holds them, `expected/` the events of each, as `sensor read --json` writes them.
//! With `SENSOR_BLESS=1` the expected events are written anew: read the difference before it is
//! committed.

mod conformance;
mod containers;
mod events;

use std::path::{Path, PathBuf};

use sensor::{
    core::{
        engine::{Engine, EngineConfig},
        proto,
    },
    output::{EveWriter, Stream},
    source::capture::{CaptureError, Reader},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("it/golden")
}

fn capture(name: &str) -> PathBuf {
    folder().join("captures").join(name)
}

/// What `sensor read --json` writes for a capture, and the break that it stopped at.
fn events(reader: Reader) -> (String, Option<CaptureError>) {
    let mut engine = Engine::new(EngineConfig {
        registry: proto::standard(),
        ..EngineConfig::default()
    });
    let mut writer = EveWriter::new(Stream::new(Vec::new()));
    let mut out = |event| writer.write(&event).expect("an event is written to memory");
    let mut error = None;
    for frame in reader {
        match frame {
            Ok(frame) => engine.on_frame(&frame, &mut out),
            Err(reason) => error = Some(reason),
        }
    }
    engine.finish(&mut out);
    writer.flush().expect("events are written to memory");
    let lines = std::mem::replace(writer.sink(), Stream::new(Vec::new())).into_inner();
    (String::from_utf8(lines).expect("events are UTF-8"), error)
}

fn events_of(name: &str) -> String {
    let (lines, error) = events(Reader::open(&capture(name)).expect("a golden capture opens"));
    assert!(error.is_none(), "{name}: {error:?}");
    lines
}

/// The configuration holds for captures as for live traffic: with a second's patience, the flows of
/// the first capture end before the second one begins, some seconds later.
#[test]
fn configured_timeouts_end_flows_of_captures() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("sensor.toml");
    let timed_out = |text: &str| -> anyhow::Result<usize> {
        std::fs::write(&config, text)?;
        let output = std::process::Command::new(sensor_tests::sensor_binary())
            .args(["read", "--json", "-c"])
            .args([&config, &capture("dns.pcap"), &capture("tls13.pcap")])
            .output()?;
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout)?;
        Ok(lines.matches(r#""reason":"timeout""#).count())
    };
    assert_eq!(timed_out("")?, 0);
    let impatient = "[engine.timeout]\nudp = { new = 1, established = 1, closed = 1 }\n";
    assert_eq!(timed_out(impatient)?, 5);
    Ok(())
}
