//! HTTP/1 over streams.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor::core::proto::http::Http;
use sensor_fuzz::drive;

fuzz_target!(|data: &[u8]| drive(&Http, 80, data));
