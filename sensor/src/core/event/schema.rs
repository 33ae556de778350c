//! The published JSON Schema, generated from the types.

use schemars::generate::SchemaSettings;

use super::Event;

/// JSON Schema (draft 2020-12) of one event. `docs/eve.schema.json` is this, pretty-printed.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut settings = SchemaSettings::draft2020_12();
    // What is written, not what could be read: fields that are never left out are required.
    settings = settings.for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Event>();
    schema.insert("title".into(), "Event of the sensor, EVE JSON".into());
    schema.insert("unevaluatedProperties".into(), false.into());
    schema.to_value()
}
