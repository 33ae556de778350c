//! What tests of parsers share.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;

use super::{Context, FlowRef, Parser, Progress, Side};
use crate::core::event::Event;
use crate::core::time::Timestamp;

/// Feeds pieces of a stream between a client and `port` to one parser, as the engine does, until
/// it wants no more, and gives its events; `end` ends both sides.
pub(super) fn stream(
    parser: &mut dyn Parser,
    name: &'static str,
    port: u16,
    pieces: &[(Side, &[u8])],
    end: bool,
) -> Vec<Event> {
    let mut events = Vec::new();
    let mut out = |event| events.push(event);
    let end_of = |port| (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), port);
    let mut flow = FlowRef::new(1, 6, [end_of(40_000), end_of(port)]);
    flow.app_proto = Some(name);
    let mut ctx = Context::new(flow, Timestamp(0), None, &mut out, None);
    let mut waiting = [Vec::new(), Vec::new()];
    for (side, piece) in pieces {
        let buffer: &mut Vec<u8> = &mut waiting[*side as usize];
        buffer.extend_from_slice(piece);
        match parser.on_data(*side, &Bytes::copy_from_slice(buffer), &mut ctx) {
            Progress::Consumed(bytes)
            | Progress::Need {
                consumed: bytes, ..
            } => {
                buffer.drain(..bytes);
            }
            Progress::Handover(_) | Progress::Done | Progress::Failed => return events,
        }
    }
    if end {
        for side in Side::BOTH {
            let rest = Bytes::from(std::mem::take(&mut waiting[side as usize]));
            parser.on_end(side, &rest, &mut ctx);
        }
    }
    events
}
