//! Frames of every link type, captured and sampled, with time running as the input says.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sensor::core::{
    engine::{Engine, EngineConfig},
    frame::{Frame, LinkType, Origin},
    limits::Limits,
    proto,
    time::Timestamp,
};
use sensor_ebpf::abi::Direction;
use sensor_fuzz::{Pieces, check_event};

const LINKS: [LinkType; 6] = [
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::LinuxSll,
    LinkType::LinuxSll2,
    LinkType::Loopback,
    LinkType::Ppp,
];

fuzz_target!(|data: &[u8]| {
    let mut engine = Engine::new(EngineConfig {
        registry: proto::standard(),
        limits: Limits {
            evidence_bytes: 4096,
            ..Limits::default()
        },
        ..EngineConfig::default()
    });
    let mut out = |event| check_event(&event);
    let mut time = 1_700_000_000_000_000_000_u64;
    for (number, (tag, piece)) in Pieces(data).enumerate() {
        // From a microsecond back to half an hour ahead.
        time = match tag >> 5 {
            0 => time - 1_000,
            step => time + 10_u64.pow(u32::from(step) + 5),
        };
        let frame = Frame {
            time: Timestamp(time),
            link: LINKS[usize::from(tag & 0x07) % LINKS.len()],
            origin: if tag & 0x08 == 0 {
                Origin::Capture {
                    number: number as u64 + 1,
                }
            } else {
                Origin::Sample {
                    epoch: 1,
                    number: number as u64,
                    segments: (tag >> 5).into(),
                    ifindex: 1,
                    direction: Direction::Ingress,
                    vlan: None,
                }
            },
            wire_len: piece.len() as u32 + u32::from(tag & 0x10) * 8,
            data: Bytes::copy_from_slice(piece),
        };
        engine.on_frame(&frame, &mut out);
        if tag & 0x1f == 0x1f {
            engine.advance(Timestamp(time), &mut out);
        }
    }
    engine.finish(&mut out);
});
