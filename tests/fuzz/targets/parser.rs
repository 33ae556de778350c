//! The parser that makes flow keys, which the kernel runs on every packet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor_ebpf::{
    abi::{Direction, key_flags},
    parse::{Headers, Origin, ethernet, ip},
};

fuzz_target!(|data: &[u8]| {
    let Some((&[low, high, tag], frame)) = data.split_first_chunk() else {
        return;
    };
    let origin = Origin {
        ifindex: u32::from(tag),
        direction: Direction::Egress,
        vlan: (tag & 1 != 0).then_some(u16::from(tag) << 4 | 1),
    };
    let whole = ethernet(frame, origin);
    if let Ok((key, headers)) = &whole {
        check(headers);
        // The IP parser alone, told of the tags, makes the same key.
        let untagged = Origin {
            vlan: None,
            ..origin
        };
        let tags = match key.flags & (key_flags::VLAN | key_flags::QINQ) {
            0 => 0,
            flags if flags & key_flags::QINQ == 0 => 1,
            _ => 2,
        };
        let alone = ip(frame, headers.ip, untagged, &key.vlan[..tags]);
        assert_eq!(alone, whole);
    }
    // A frame of which less was captured has the same key or none.
    let cut = usize::from(u16::from_le_bytes([low, high])).min(frame.len());
    if let Ok((key, headers)) = ethernet(&frame[..cut], origin) {
        check(&headers);
        assert_eq!(Ok((key, headers)), whole);
    }
    if let Ok((_, headers)) = ip(frame, cut, Origin::CAPTURE, &[]) {
        check(&headers);
    }
});

fn check(headers: &Headers) {
    assert!(headers.ip < headers.transport, "{headers:?}");
    assert!(headers.transport <= headers.payload, "{headers:?}");
}
