//! A whole capture file, through the reader and the engine.
#![no_main]

use std::{io::Cursor, path::Path};

use libfuzzer_sys::fuzz_target;
use sensor::{
    core::{
        engine::{Engine, EngineConfig},
        proto,
    },
    source::capture::Reader,
};
use sensor_fuzz::check_event;

fuzz_target!(|data: &[u8]| {
    let Ok(reader) = Reader::from_source(Path::new("fuzz"), Box::new(Cursor::new(data.to_vec())))
    else {
        return;
    };
    let mut engine = Engine::new(EngineConfig {
        registry: proto::standard(),
        ..EngineConfig::default()
    });
    // A compressed input can hold far more than its own size.
    for frame in reader.take(10_000) {
        let Ok(frame) = frame else { break };
        assert!(
            frame.wire_len as usize >= frame.data.len(),
            "a frame has its captured bytes"
        );
        engine.on_frame(&frame, &mut |event| check_event(&event));
    }
    engine.finish(&mut |event| check_event(&event));
});
