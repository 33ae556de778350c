use super::*;
use crate::core::{
    event::{self, Event},
    proto::drive,
};

use Side::{Originator as C, Responder as S};

/// Feeds pieces to one parser and gives its events.
fn run(pieces: &[(Side, &[u8])], end: bool) -> Vec<Event> {
    let mut parser = Tls.parser(Transport::Stream);
    drive::stream(&mut *parser, "tls", 443, pieces, end)
}

fn tls(events: &[Event]) -> &event::Tls {
    match &events[events.len() - 1].body {
        Body::Tls { tls } => tls,
        other => panic!("{other:?}"),
    }
}

fn vector16(data: &[u8]) -> Vec<u8> {
    [&(data.len() as u16).to_be_bytes()[..], data].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(data)].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &vector16(payload)].concat()
}

fn hello() -> Vec<u8> {
    let name = [&[0][..], &vector16(b"example.com")].concat();
    let extensions = [
        extension(0x1a1a, &[]),
        extension(0, &vector16(&name)),
        extension(10, &vector16(&[0, 29, 0, 23])),
        extension(11, &[1, 0]),
        extension(16, &vector16(b"\x02h2\x08http/1.1")),
        extension(13, &vector16(&[4, 3, 8, 4])),
        extension(43, &[4, 3, 4, 3, 3]),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &vector16(&[0x2a, 0x2a, 0x13, 1, 0xc0, 0x2b]),
        &[1, 0],
        &vector16(&extensions),
    ];
    handshake(1, &body.concat())
}

fn server_hello(random: &[u8; 32], versions: &[u8]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        random,
        &[0, 0x13, 1, 0],
        &vector16(&extension(43, versions)),
    ];
    handshake(2, &body.concat())
}

const RETRY: &[u8; 32] = b"\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c";

#[test]
fn tls_1_3_is_told_by_both_hellos() {
    let events = run(
        &[
            (C, &record(22, &hello())),
            (S, &record(22, &server_hello(&[9; 32], &[3, 4]))),
        ],
        false,
    );
    let tls = tls(&events);
    assert_eq!(tls.sni, Some("example.com".into()));
    assert_eq!(tls.version.to_str(), "TLS 1.3");
    assert_eq!(tls.client_alpns, ["h2".into(), "http/1.1".into()]);
    // Independently computed with sha256sum: "1301,c02b" and "000a,000b,000d,002b_0403,0804".
    assert_eq!(
        tls.ja4.as_ref().unwrap().to_str(),
        format!("t13d0206h2_{}_{}", "777cda164f4b", "fb71836bce29")
    );
    assert_eq!(
        tls.ja3.as_ref().unwrap().string.to_str(),
        "771,4865-49195,0-10-11-16-13-43,29-23,0"
    );
    assert_eq!(
        events[0].extra.as_ref().unwrap().cipher,
        Some("TLS_AES_128_GCM_SHA256".into())
    );
}

#[test]
fn a_retry_request_is_not_the_answer() {
    let retry = record(22, &server_hello(RETRY, &[3, 4]));
    let hello = record(22, &hello());
    let pieces: &[(Side, &[u8])] = &[(C, &hello), (S, &retry), (C, &hello)];
    assert!(run(pieces, false).is_empty());
    // Nothing is chosen: the version that the client asks for.
    assert_eq!(tls(&run(pieces, true)).version.to_str(), "TLS 1.3");
}

#[test]
fn hellos_may_be_split_over_records_and_segments() {
    let hello = hello();
    let (first, second) = hello.split_at(9);
    let stream = [record(22, first), record(22, second)].concat();
    let server = record(22, &server_hello(&[9; 32], &[3, 4]));
    let mut pieces: Vec<_> = stream.chunks(1).map(|byte| (C, byte)).collect();
    pieces.push((S, &server));
    let whole = record(22, &hello);
    assert_eq!(
        run(&pieces, false),
        run(&[(C, &whole), (S, &server)], false)
    );
}

#[test]
fn reads_an_sslv2_hello() {
    let body = [
        &[1, 3, 1, 0, 6, 0, 0, 0, 16][..],
        &[0, 0, 0x2f, 1, 0, 0x80],
        &[5; 16],
    ]
    .concat();
    let record = [&[0x80, body.len() as u8][..], &body].concat();
    let hint = ProbeHint {
        side: C,
        originator_port: 1,
        responder_port: 2,
        transport: Transport::Stream,
    };
    assert_eq!(Tls.probe(hint, &record), Probe::Certain);
    let events = run(&[(C, &record)], true);
    assert_eq!(tls(&events).version.to_str(), "TLSv1");
    assert_eq!(tls(&events).ja3, None);
}

#[test]
fn a_broken_record_is_an_anomaly() {
    let events = run(
        &[(C, &record(22, &hello())), (S, b"\x59\x03\x03\x00\x01\x00")],
        false,
    );
    let Body::Anomaly { anomaly } = &events[0].body else {
        panic!()
    };
    assert_eq!(anomaly.event, "INVALID_RECORD_TYPE");
    assert_eq!(tls(&events).sni, Some("example.com".into()));
}

proptest::proptest! {
    #[test]
    fn altered_handshakes_never_panic(at: proptest::sample::Index, value: u8, cut: proptest::sample::Index, tail: Vec<u8>) {
        for mut data in [record(22, &hello()), record(22, &server_hello(&[9; 32], &[3, 4])), record(22, &handshake(11, &tail))] {
            let at = at.index(data.len());
            data[at] = value;
            data.truncate(cut.index(data.len()));
            data.extend(&tail);
            run(&[(C, &record(22, &hello())), (S, &data)], true);
            run(&[(C, &data)], true);
        }
    }
}
