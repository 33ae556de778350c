//! The engine from outside: frames and drains in, events out.

mod arbitrary;
mod capture;
mod checksums;
mod counts;
mod evidence;
mod fragments;
mod live;
mod overlaps;
mod shards;
mod streams;
mod tunnels;
mod wishes;

use bytes::Bytes;
use etherparse::PacketBuilder;
use sensor_ebpf::abi::Direction;

use super::*;
use crate::core::event::{Body, Flow, Tcp};
use crate::core::frame::{LinkType, Origin};
use crate::core::proto::{
    Context, Gap, Parser, Probe, ProbeHint, Progress, Protocol, Side, Transport,
};

const SECOND: u64 = 1_000_000_000;
/// Some time after all timers' zero.
const START: u64 = 1_700_000_000 * SECOND;

const CLIENT: [u8; 4] = [192, 0, 2, 1];
const SERVER: [u8; 4] = [198, 51, 100, 2];
const CLIENT_PORT: u16 = 40_000;

/// A TCP segment between the client and port 80 of the server.
#[derive(Clone, Copy, Debug)]
struct Seg<'a> {
    from_client: bool,
    flags: &'a str,
    seq: u32,
    ack: u32,
    payload: &'a [u8],
}

fn client<'a>(flags: &'a str, seq: u32, ack: u32, payload: &'a [u8]) -> Seg<'a> {
    Seg {
        from_client: true,
        flags,
        seq,
        ack,
        payload,
    }
}

fn server<'a>(flags: &'a str, seq: u32, ack: u32, payload: &'a [u8]) -> Seg<'a> {
    Seg {
        from_client: false,
        flags,
        seq,
        ack,
        payload,
    }
}

impl Seg<'_> {
    fn bytes(&self) -> Bytes {
        let (src, dst, src_port, dst_port) = if self.from_client {
            (CLIENT, SERVER, CLIENT_PORT, 80)
        } else {
            (SERVER, CLIENT, 80, CLIENT_PORT)
        };
        let mut builder = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(src, dst, 64)
            .tcp(src_port, dst_port, self.seq, 1024);
        for flag in self.flags.chars() {
            builder = match flag {
                'S' => builder.syn(),
                'F' => builder.fin(),
                'R' => builder.rst(),
                'A' => builder.ack(self.ack),
                other => panic!("no such flag: {other}"),
            };
        }
        let mut frame = Vec::new();
        builder.write(&mut frame, self.payload).unwrap();
        frame.into()
    }
}

fn udp(from_client: bool, payload: &[u8]) -> Bytes {
    let (src, dst, src_port, dst_port) = if from_client {
        (CLIENT, SERVER, CLIENT_PORT, 53)
    } else {
        (SERVER, CLIENT, 53, CLIENT_PORT)
    };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(src, dst, 64)
        .udp(src_port, dst_port)
        .write(&mut frame, payload)
        .unwrap();
    frame.into()
}

fn captured(number: u64, time: u64, data: Bytes) -> Frame {
    Frame {
        time: Timestamp(time),
        link: LinkType::Ethernet,
        origin: Origin::Capture { number },
        wire_len: data.len() as u32,
        data,
    }
}

/// An engine and what it has said.
#[derive(Debug)]
struct Run {
    engine: Engine,
    events: Vec<Event>,
    frames: u64,
}

impl Run {
    fn new(config: EngineConfig) -> Self {
        Self {
            engine: Engine::new(config),
            events: Vec::new(),
            frames: 0,
        }
    }

    fn with(protocol: Echo) -> Self {
        Self::new(EngineConfig {
            registry: Registry::new(vec![Box::new(protocol)]),
            ..EngineConfig::default()
        })
    }

    fn frame(&mut self, frame: &Frame) {
        let events = &mut self.events;
        self.engine.on_frame(frame, &mut |event| events.push(event));
    }

    /// A captured frame, `ms` milliseconds after the start.
    fn captured(&mut self, ms: u64, data: Bytes) {
        self.frames += 1;
        self.frame(&captured(self.frames, START + ms * 1_000_000, data));
    }

    /// Captured segments, a millisecond apart.
    fn segments(&mut self, segments: &[Seg<'_>]) {
        for segment in segments {
            self.captured(self.frames, segment.bytes());
        }
    }

    fn drain(&mut self, drain: &Drain) {
        let events = &mut self.events;
        self.engine.on_drain(drain, &mut |event| events.push(event));
    }

    fn advance(&mut self, time: u64) {
        let events = &mut self.events;
        self.engine
            .advance(Timestamp(time), &mut |event| events.push(event));
    }

    fn finish(&mut self) {
        let events = &mut self.events;
        self.engine.finish(&mut |event| events.push(event));
    }

    fn flows(&self) -> Vec<(&Event, &Flow, Option<&Tcp>)> {
        self.events
            .iter()
            .filter_map(|event| match &event.body {
                Body::Flow { flow, tcp } => Some((event, &**flow, tcp.as_ref())),
                _ => None,
            })
            .collect()
    }

    /// `conn_state` and history of each ended flow.
    fn zeek(&self) -> Vec<(&'static str, String)> {
        self.flows()
            .iter()
            .filter_map(|(event, ..)| {
                let extra = event.extra.as_ref()?;
                Some((
                    extra.conn_state?,
                    extra.history.as_ref()?.to_str().into_owned(),
                ))
            })
            .collect()
    }

    /// What the [`Echo`] parser was shown, as one line each.
    fn shown(&self) -> Vec<String> {
        self.events
            .iter()
            .filter_map(|event| match &event.body {
                Body::Alert { alert } => Some(alert.signature.to_str().into_owned()),
                _ => None,
            })
            .collect()
    }
}

/// A protocol that tells what it was shown: it is certain of bytes that start with `!`.
#[derive(Clone, Debug, Default)]
struct Echo {
    /// Bytes that its parser consumes at a time; 0 for all.
    record: usize,
}

impl Protocol for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn runs_over(&self, _: Transport) -> bool {
        true
    }

    fn probe(&self, _: ProbeHint, data: &[u8]) -> Probe {
        match data {
            [b'!', _, ..] => Probe::Certain,
            [b'!'] | [] => Probe::Unsure,
            _ => Probe::NotForUs,
        }
    }

    fn parser(&self, _: Transport) -> Box<dyn Parser> {
        Box::new(EchoParser {
            record: self.record,
            seen: 0,
        })
    }
}

#[derive(Debug)]
struct EchoParser {
    record: usize,
    seen: u64,
}

impl EchoParser {
    fn tell(&self, side: Side, text: &str, ctx: &mut Context<'_>) {
        let alert = crate::core::event::Alert {
            action: crate::core::event::Action::Allowed,
            gid: 1,
            signature_id: 1,
            rev: 1,
            signature: format!("{}{text}", if side == Side::Originator { '>' } else { '<' }).into(),
            category: "".into(),
            severity: 3,
        };
        ctx.event(
            side,
            Some(self.seen),
            Body::Alert {
                alert: Box::new(alert),
            },
        );
    }
}

impl Parser for EchoParser {
    fn on_data(&mut self, side: Side, data: &Bytes, ctx: &mut Context<'_>) -> Progress {
        self.seen += 1;
        let end = if self.record == 0 {
            data.len()
        } else {
            self.record
        };
        let Some(record) = data.get(..end) else {
            return Progress::Need {
                consumed: 0,
                bytes: end,
            };
        };
        self.tell(side, &String::from_utf8_lossy(record), ctx);
        if record.ends_with(b"$") {
            Progress::Done
        } else {
            Progress::Consumed(end)
        }
    }

    fn on_gap(&mut self, side: Side, len: u64, gap: Gap, ctx: &mut Context<'_>) -> Progress {
        self.tell(side, &format!("[{gap:?} {len}]"), ctx);
        Progress::Consumed(0)
    }

    fn on_end(&mut self, side: Side, rest: &Bytes, ctx: &mut Context<'_>) {
        self.tell(
            side,
            &format!("[end {}]", String::from_utf8_lossy(rest)),
            ctx,
        );
    }

    fn transactions(&self) -> u64 {
        self.seen
    }
}

/// A handshake: the client's first byte is 101, the server's 501.
fn handshake() -> [Seg<'static>; 3] {
    [
        client("S", 100, 0, b""),
        server("SA", 500, 101, b""),
        client("A", 101, 501, b""),
    ]
}
