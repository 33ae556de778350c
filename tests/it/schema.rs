//! The published JSON Schema of events.

#[cfg(test)]
mod tests {
    #[test]
    fn the_published_schema_is_the_one_the_types_give() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/eve.schema.json");
        let schema = sensor::core::event::schema();
        let generated = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &generated).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap();
        assert!(
            published == generated,
            "stale: run this test with UPDATE_SCHEMA=1"
        );
    }
}
