//! DNS, mDNS and LLMNR over datagrams and streams.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor::core::proto::dns::Dns;
use sensor_fuzz::drive;

fuzz_target!(|data: &[u8]| {
    drive(&Dns::Unicast, 53, data);
    drive(&Dns::Multicast, 5353, data);
});
