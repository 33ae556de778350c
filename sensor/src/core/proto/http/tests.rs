use super::*;
use crate::core::{
    event::{self, Event},
    proto::{Side, drive},
};

/// Feeds pieces to one parser and gives its events; `end` ends both sides.
fn run(pieces: &[(Side, &[u8])], end: bool) -> Vec<Event> {
    let mut parser = Http.parser(Transport::Stream);
    drive::stream(&mut *parser, "http", 80, pieces, end)
}

fn transactions(events: &[Event]) -> Vec<&event::Http> {
    let http = |event: &'_ Event| matches!(event.body, event::Body::Http { .. });
    let body = |event| match event {
        &Event {
            body: event::Body::Http { ref http },
            ..
        } => &**http,
        _ => unreachable!(),
    };
    events
        .iter()
        .filter(|event| http(event))
        .map(body)
        .collect()
}

fn anomalies(events: &[Event]) -> Vec<&'static str> {
    let name = |event: &Event| match &event.body {
        event::Body::Anomaly { anomaly } => Some(anomaly.event),
        _ => None,
    };
    events.iter().filter_map(name).collect()
}

use Side::{Originator as C, Responder as S};

const GET: &[u8] =
    b"GET /hello.txt HTTP/1.1\r\nUser-Agent: curl/7.64.1\r\nHost: WWW.Example.com:8080\r\n\r\n";
const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello";

#[test]
fn a_request_and_its_response_are_one_event() {
    let events = run(&[(C, GET), (S, OK)], false);
    let http = transactions(&events)[0];
    assert_eq!(http.hostname, Some("www.example.com".into()));
    assert_eq!(http.http_port, Some(8080));
    assert_eq!(http.url, Some("/hello.txt".into()));
    assert_eq!(http.http_user_agent, Some("curl/7.64.1".into()));
    assert_eq!(http.http_content_type, Some("text/plain".into()));
    assert_eq!(http.protocol, Some("HTTP/1.1".into()));
    assert_eq!((http.status, http.length), (Some(200), 5));
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].tx_id, Some(0));
}

#[test]
fn pieces_of_any_size_give_the_same() {
    let whole = run(&[(C, GET), (S, OK)], true);
    let bytes = |side, data: &'static [u8]| data.chunks(1).map(move |byte| (side, byte));
    let pieces: Vec<_> = bytes(C, GET).chain(bytes(S, OK)).collect();
    assert_eq!(run(&pieces, true), whole);
}

#[test]
fn pipelined_requests_keep_their_order() {
    let twice = [GET, b"HEAD /2 HTTP/1.1\r\nHost: b\r\n\r\n", GET].concat();
    let answers = [
        OK,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\n",
        OK,
    ]
    .concat();
    let events = run(&[(C, &twice), (S, &answers)], false);
    let status: Vec<_> = transactions(&events)
        .iter()
        .map(|http| (http.status, http.length))
        .collect();
    assert_eq!(status, [(Some(200), 5), (Some(404), 0), (Some(200), 5)]);
    assert_eq!(events[2].tx_id, Some(2));
}

#[test]
fn chunks_count_as_transferred() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\n5;x=y\r\npedia\r\n0\r\nTrailer: x\r\n\r\n";
    let events = run(&[(C, GET), (S, answer), (C, GET), (S, OK)], false);
    let http = transactions(&events);
    let head = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let trailer = b"Trailer: x\r\n\r\n".len();
    assert_eq!(http[0].length, (answer.len() - head - trailer) as u64);
    assert_eq!(http[1].length, 5);
}

#[test]
fn interim_and_bodiless_responses() {
    let post = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let events = run(
        &[
            (C, post),
            (S, b"HTTP/1.1 100 Continue\r\n\r\n"),
            (C, b"abc"),
            (S, b"HTTP/1.1 204 No Content\r\n\r\n"),
            (C, GET),
            (S, OK),
        ],
        false,
    );
    let status: Vec<_> = transactions(&events)
        .iter()
        .map(|http| http.status)
        .collect();
    assert_eq!(status, [Some(204), Some(200)]);
    assert_eq!(events[0].extra.as_ref().unwrap().request_length, Some(3));
}

#[test]
fn a_body_until_close_ends_with_the_stream() {
    let pieces: &[(Side, &[u8])] = &[(C, GET), (S, b"HTTP/1.0 200 OK\r\n\r\nabc"), (S, b"def")];
    assert!(run(pieces, false).is_empty());
    assert_eq!(transactions(&run(pieces, true))[0].length, 6);
}

#[test]
fn an_unanswered_request_is_reported_at_the_end() {
    let events = run(&[(C, GET)], true);
    assert_eq!(transactions(&events)[0].status, None);
}

#[test]
fn connect_hands_over_once_it_is_granted() {
    let connect = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";
    let granted = run(
        &[
            (C, connect),
            (S, b"HTTP/1.1 200 Connection established\r\n\r\n"),
            (C, b"\x16\x03\x01"),
        ],
        false,
    );
    assert_eq!(granted.len(), 1);
    assert_eq!(
        transactions(&granted)[0].hostname,
        Some("example.com".into())
    );
    let refused = run(
        &[
            (C, connect),
            (S, b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"),
            (C, GET),
            (S, OK),
        ],
        false,
    );
    assert_eq!(transactions(&refused).len(), 2);
}

#[test]
fn lenient_where_browsers_are() {
    let request = b"GET /a b HTTP/1.1\nHost: x\nno colon here\nX-Folded: a\n b\n\n";
    let events = run(&[(C, request), (S, OK)], false);
    assert_eq!(transactions(&events)[0].url, Some("/a b".into()));
    assert_eq!(
        anomalies(&events),
        ["REQUEST_FIELD_MISSING_COLON", "REQUEST_HEADER_FOLDED"]
    );
}

#[test]
fn http_0_9_has_neither_head() {
    let events = run(&[(C, b"GET /old\r\n"), (S, b"<html>hi</html>")], true);
    let http = transactions(&events)[0];
    assert_eq!((&http.protocol, http.length), (&None, 15));
    assert!(anomalies(&events).is_empty());
}

#[test]
fn ambiguous_framing_is_an_anomaly() {
    let request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let events = run(&[(C, request), (S, OK)], false);
    assert_eq!(
        anomalies(&events),
        [
            "DUPLICATE_CONTENT_LENGTH_FIELD_IN_REQUEST",
            "AMBIGUOUS_FRAMING_IN_REQUEST"
        ]
    );
}

#[test]
fn a_response_alone_is_reported_from_the_client() {
    let events = run(&[(S, OK)], true);
    assert_eq!(anomalies(&events), ["UNABLE_TO_MATCH_RESPONSE_TO_REQUEST"]);
    let http = events
        .iter()
        .find(|event| matches!(event.body, event::Body::Http { .. }))
        .unwrap();
    assert_eq!((http.src_port, http.dest_port), (Some(40000), Some(80)));
}

#[test]
fn probes_requests_and_responses_only() {
    let hint = ProbeHint {
        side: C,
        originator_port: 1,
        responder_port: 2,
        transport: Transport::Stream,
    };
    for (data, expected) in [
        (GET, Probe::Certain),
        (OK, Probe::Certain),
        (b"GE", Probe::Unsure),
        (b"HTT", Probe::Unsure),
        (b"OPTIONS sip:a@b SIP/2.0\r\n", Probe::NotForUs),
        (b"OPTIONS * HTTP/1.1\r\n", Probe::Certain),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Probe::NotForUs),
        (b"SSH-2.0-OpenSSH_9\r\n", Probe::NotForUs),
        (b"\x16\x03\x01\x02\x00\x01", Probe::NotForUs),
    ] {
        assert_eq!(Http.probe(hint, data), expected, "{data:?}");
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(pieces in proptest::collection::vec((proptest::bool::ANY, ".{0,80}|[\\x00-\\xff]{0,40}|GET / HTTP/1.1\r\n\r\n|HTTP/1.1 200 OK\r\n(Transfer-Encoding: chunked\r\n)?\r\n([0-9a-f]{1,20}\r\n)?"), 0..12)) {
        let pieces: Vec<_> = pieces.iter().map(|(server, text)| (if *server { S } else { C }, text.as_bytes())).collect();
        run(&pieces, true);
    }
}

#[test]
fn an_answer_to_an_invalid_request_line_is_told() {
    let request = b"TRACE/HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = b"HTTP/1.0 400 Bad Request\r\nContent-Length: 1\r\n\r\nx";
    let events = run(&[(C, request), (S, answer), (C, GET), (S, OK)], false);
    let http = transactions(&events);
    assert_eq!((http[0].status, &http[0].http_method), (Some(400), &None));
    assert_eq!((http[1].status, http.len()), (Some(200), 2));
    assert!(anomalies(&events).contains(&"REQUEST_LINE_INVALID"));
}
