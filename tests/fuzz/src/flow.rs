use std::net::{IpAddr, Ipv4Addr};

use bytes::{Bytes, BytesMut};
use sensor::core::{
    event::Event,
    proto::{Context, FlowRef, Gap, ProbeHint, Progress, Protocol, Side, Transport},
    time::Timestamp,
};

use crate::{Pieces, check_event};

/// Most bytes of one side that wait to be consumed, as the engine limits them.
const HELD: usize = 256 * 1024;

/// Runs one protocol over a flow made of `input`: probed first, then parsed piece by piece as
/// the engine does it, with holes and ends where the input says so.
///
/// # Panics
/// If the parser breaks its promises: consumes more than there was, emits what is not JSON.
pub fn drive(protocol: &dyn Protocol, port: u16, input: &[u8]) {
    let Some((&first, input)) = input.split_first() else {
        return;
    };
    let transport = if first & 1 == 0 {
        Transport::Stream
    } else {
        Transport::Datagram
    };
    if !protocol.runs_over(transport) {
        return;
    }
    let originator_port = 40_000;
    let mut parser = protocol.parser(transport);
    let mut out = |event: Event| check_event(&event);
    let ip_protocol = match transport {
        Transport::Stream => 6,
        Transport::Datagram => 17,
    };
    let end = |last, port| (IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), port);
    let mut flow = FlowRef::new(1, ip_protocol, [end(1, originator_port), end(2, port)]);
    flow.app_proto = Some(protocol.name());
    let mut held = [BytesMut::new(), BytesMut::new()];
    for (number, (tag, piece)) in Pieces(input).enumerate() {
        let side = Side::BOTH[usize::from(tag & 1)];
        let hint = ProbeHint {
            side,
            originator_port,
            responder_port: port,
            transport,
        };
        protocol.probe(hint, piece);
        let mut context = Context::new(
            flow,
            Timestamp(number as u64),
            Some(number as u64 + 1),
            &mut out,
            None,
        );
        if transport == Transport::Datagram {
            match parser.on_data(side, &Bytes::copy_from_slice(piece), &mut context) {
                Progress::Consumed(_) | Progress::Need { .. } => continue,
                Progress::Handover(_) | Progress::Done | Progress::Failed => return,
            }
        }
        let held = &mut held[side as usize];
        if tag & 0x70 == 0x70 {
            held.clear();
            let gap = [Gap::Loss, Gap::Sampling, Gap::Limit][usize::from(tag >> 2 & 3) % 3];
            match parser.on_gap(side, u64::from(tag) << 8, gap, &mut context) {
                Progress::Consumed(_) | Progress::Need { .. } => {}
                Progress::Handover(_) | Progress::Done | Progress::Failed => return,
            }
        }
        held.extend_from_slice(piece);
        if held.is_empty() || held.len() > HELD {
            continue;
        }
        let data = Bytes::copy_from_slice(held);
        let consumed = match parser.on_data(side, &data, &mut context) {
            Progress::Consumed(consumed) | Progress::Need { consumed, .. } => consumed,
            Progress::Handover(_) | Progress::Done | Progress::Failed => return,
        };
        assert!(
            consumed <= data.len(),
            "{consumed} of {} bytes consumed",
            data.len()
        );
        let _ = held.split_to(consumed);
    }
    let mut context = Context::new(flow, Timestamp(u64::MAX), None, &mut out, None);
    for side in Side::BOTH {
        let rest = held[side as usize].split().freeze();
        parser.on_end(side, &rest, &mut context);
    }
    parser.transactions();
}
