//! What the fuzz targets share: input cut into pieces, and a flow that feeds one protocol.

mod flow;
mod pieces;

use sensor::core::event::Event;

pub use flow::drive;
pub use pieces::Pieces;

/// An event must be one line of valid JSON, whatever bytes led to it.
///
/// # Panics
/// If it is not.
pub fn check_event(event: &Event) {
    let line = serde_json::to_string(event).expect("an event serialises");
    assert!(
        !line.bytes().any(|byte| byte < 0x20),
        "a control character in a line: {line:?}"
    );
    let value: serde_json::Value = serde_json::from_str(&line).expect("an event is valid JSON");
    assert!(
        value["event_type"].is_string(),
        "an event has a type: {line}"
    );
}
