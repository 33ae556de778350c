//! TLS handshakes over streams.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor::core::proto::tls::Tls;
use sensor_fuzz::drive;

fuzz_target!(|data: &[u8]| drive(&Tls, 443, data));
