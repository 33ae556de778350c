//! A capture through the reader and the engine.

use std::{path::Path, sync::LazyLock};

use anyhow::{Context as _, Result, ensure};
use sensor::core::engine::{Engine, EngineConfig};
use sensor::core::proto;
use sensor::source::capture::Reader;
use serde_json::Value;

/// What came of a capture.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Events as a reader of EVE sees them.
    pub(super) events: Vec<Value>,
    /// Packets that the reader found, those of unknown link types too.
    pub(super) packets: u64,
    /// Where and why reading stopped before the end.
    pub(super) broken: Option<String>,
}

impl Run {
    /// Reads the capture to its end, or to where it breaks: what came before counts. Fails only
    /// if the file is not there.
    pub(super) fn of(path: &Path, midstream: bool) -> Result<Self> {
        std::fs::metadata(path)?;
        let mut run = Self::default();
        let config = EngineConfig {
            midstream,
            registry: proto::standard(),
            ..EngineConfig::default()
        };
        let mut engine = Engine::new(config);
        let mut failed = None;
        let mut out = |event| match serde_json::to_value(&event) {
            Ok(event) => run.events.push(event),
            Err(error) => failed = Some(error),
        };
        match Reader::open(path) {
            Ok(mut reader) => {
                for frame in &mut reader {
                    match frame {
                        Ok(frame) => engine.on_frame(&frame, &mut out),
                        Err(error) => run.broken = Some(error.to_string()),
                    }
                }
                run.packets = reader.stats().packets;
            }
            Err(error) => run.broken = Some(error.to_string()),
        }
        engine.finish(&mut out);
        if let Some(error) = failed {
            return Err(error.into());
        }
        run.check_schema()?;
        Ok(run)
    }

    /// Every event keeps to the published schema.
    fn check_schema(&self) -> Result<()> {
        static VALIDATOR: LazyLock<Option<jsonschema::Validator>> =
            LazyLock::new(|| jsonschema::validator_for(&sensor::core::event::schema()).ok());
        let validator = VALIDATOR.as_ref().context("the published schema is none")?;
        for event in &self.events {
            let valid = validator.validate(event).map_err(|error| error.to_string());
            ensure!(valid.is_ok(), "{valid:?}: {event}");
        }
        Ok(())
    }

    /// Events of one type.
    pub(super) fn events_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events
            .iter()
            .filter(move |event| event["event_type"] == kind)
    }
}

/// An address in any notation, for comparison.
pub(super) fn address(text: &str) -> Option<std::net::IpAddr> {
    text.parse().ok()
}

/// Whether the event is about these two ends, `from` being its source.
pub(super) fn between(event: &Value, from: (&str, u64), to: (&str, u64)) -> bool {
    let end = |ip: &str, port: &str| {
        Some((
            address(event[ip].as_str()?)?,
            event[port].as_u64().unwrap_or(0),
        ))
    };
    let wanted = |(ip, port): (&str, u64)| Some((address(ip)?, port));
    end("src_ip", "src_port") == wanted(from) && end("dest_ip", "dest_port") == wanted(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_altered_event_breaks_the_schema() {
        let right = serde_json::json!({
            "timestamp": "2026-01-02T03:04:05.678901+0000", "event_type": "anomaly",
            "anomaly": { "type": "applayer", "event": "x", "layer": "proto_parser" }
        });
        let check = |event: Value| {
            Run {
                events: vec![event],
                ..Run::default()
            }
            .check_schema()
        };
        assert!(check(right.clone()).is_ok());
        for (key, value) in [
            ("timestamp", "2026-01-02".into()),
            ("event_type", "nothing".into()),
            ("src_port", 65_536.into()),
            ("unknown", 1.into()),
            ("anomaly", serde_json::json!({ "type": "applayer" })),
        ] {
            let mut wrong = right.clone();
            wrong[key] = value;
            assert!(check(wrong).is_err(), "{key}");
        }
    }
}
