//! A capture through the reader and the engine.

use std::path::Path;

use anyhow::Result;
use sensor::core::engine::{Engine, EngineConfig};
use sensor::core::proto;
use sensor::source::capture::Reader;
use serde_json::Value;

/// What came of a capture.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Events as a reader of EVE sees them.
    pub(super) events: Vec<Value>,
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
        // A link type or format that is not known gives no frames, which is a clear result.
        if let Ok(reader) = Reader::open(path) {
            for frame in reader.map_while(Result::ok) {
                engine.on_frame(&frame, &mut out);
            }
        }
        engine.finish(&mut out);
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(run),
        }
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
