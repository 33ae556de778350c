//! What a packet that was merged on its way in has been on the wire, or what one that is not yet cut
//! up will be.

/// Frames of one flow in one: GRO or the device has merged them, or segmentation has still to cut
/// them.
#[derive(Clone, Copy, Debug)]
pub struct Merged {
    /// Bytes of the merged frame: headers once, and all payloads.
    pub len: u32,
    /// How many frames there are; 0 where the device did not tell, as virtio does not.
    pub segments: u32,
    /// Payload bytes of each frame but the last, which may have had fewer.
    pub segment_size: u32,
}

impl Merged {
    /// Packets and bytes on the wire, where `headers` bytes came before the payload of each.
    ///
    /// Of a tunnel only the outer headers are known to the caller. Those within are found as far
    /// as the lengths show them: wholly where the last frame was as long as the others.
    #[must_use]
    #[inline(always)]
    pub fn on_wire(self, headers: u32) -> (u32, u32) {
        let Self {
            len,
            segments,
            segment_size,
        } = self;
        if segment_size == 0 {
            return (1, len);
        }
        let packets = match segments {
            0 => len.saturating_sub(headers).div_ceil(segment_size),
            told => told,
        };
        let hidden = len.saturating_sub(packets.wrapping_mul(segment_size));
        let headers = if hidden > headers { hidden } else { headers };
        let repeated = packets.saturating_sub(1).wrapping_mul(headers);
        (
            if packets == 0 { 1 } else { packets },
            len.wrapping_add(repeated),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ethernet, IPv4 and TCP with time stamps.
    const HEADERS: u32 = 14 + 20 + 32;

    fn merged(payload: u32, segments: u32) -> (u32, u32) {
        let merged = Merged {
            len: HEADERS + payload,
            segments,
            segment_size: 1448,
        };
        merged.on_wire(HEADERS)
    }

    #[test]
    fn each_segment_had_headers_of_its_own() {
        assert_eq!(merged(3 * 1448, 3), (3, 3 * (HEADERS + 1448)));
        // The last was shorter.
        assert_eq!(merged(2 * 1448 + 1, 3), (3, 3 * HEADERS + 2 * 1448 + 1));
        assert_eq!(merged(1448, 1), (1, HEADERS + 1448));
    }

    #[test]
    fn segments_that_no_device_told_are_found_by_their_size() {
        for payload in [1_u32, 1447, 1448, 1449, 2896, 2897, 60_000] {
            let segments = payload.div_ceil(1448);
            assert_eq!(merged(payload, 0), merged(payload, segments), "{payload}");
        }
        assert_eq!(merged(0, 0), (1, HEADERS));
    }

    #[test]
    fn the_headers_in_a_tunnel_repeat_too() {
        // VXLAN: 50 bytes around another Ethernet frame, of which the caller sees 42.
        let inner = 8 + HEADERS;
        let tunnel = Merged {
            len: 42 + inner + 4 * 1398,
            segments: 4,
            segment_size: 1398,
        };
        assert_eq!(tunnel.on_wire(42), (4, 4 * (42 + inner + 1398)));
    }

    #[test]
    fn what_was_not_merged_is_as_it_is() {
        let plain = Merged {
            len: 60,
            segments: 0,
            segment_size: 0,
        };
        assert_eq!(plain.on_wire(54), (1, 60));
    }
}
