use std::net::Ipv4Addr;

use super::{transaction::message, *};
use crate::core::event::{DnsKind, Rdata};

/// Header (id 1, the given flags and counts) and body.
fn dns(flags: u16, counts: [u16; 4], body: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 1];
    out.extend(flags.to_be_bytes());
    out.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    out.extend(body);
    out
}

const QUESTION: &[u8] = b"\x07example\x03com\0\0\x01\0\x01";

fn hint(transport: Transport, port: u16) -> ProbeHint {
    ProbeHint {
        side: Side::Originator,
        originator_port: 40000,
        responder_port: port,
        transport,
    }
}

/// RDATA of one answer of type `kind`, behind [`QUESTION`].
fn rdata_of(kind: u16, data: &[u8]) -> Vec<Rdata> {
    let mut body = QUESTION.to_vec();
    body.extend(b"\xc0\x0c");
    body.extend(kind.to_be_bytes());
    body.extend(b"\0\x01\0\0\x01\x2c");
    body.extend((data.len() as u16).to_be_bytes());
    body.extend(data);
    let message = message(&dns(0x8180, [1, 1, 0, 0], &body), 0).unwrap();
    assert!(!message.malformed);
    message
        .dns
        .answers
        .0
        .into_iter()
        .map(|record| record.data)
        .collect()
}

fn text_of(kind: u16, data: &[u8]) -> String {
    match &rdata_of(kind, data)[..] {
        [Rdata::Text { rdata }] => rdata.to_str().into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_a_query() {
    let message = message(&dns(0x0100, [1, 0, 0, 0], QUESTION), 3).unwrap();
    let dns = message.dns;
    assert_eq!((dns.kind, dns.tx_id, dns.id), (DnsKind::Request, 3, 1));
    assert!(dns.rd && !dns.qr && !message.malformed);
    assert_eq!(dns.queries[0].rrname.to_str(), "example.com");
    assert_eq!(dns.queries[0].rrtype, "A");
}

#[test]
fn follows_rfc_1035_compression() {
    // Section 4.1.4: F.ISI.ARPA at 20, FOO.F.ISI.ARPA at 40, ARPA at 64, the root at 92.
    let mut message = vec![0; 20];
    message.extend(b"\x01F\x03ISI\x04ARPA\0");
    message.resize(40, 0);
    message.extend(b"\x03FOO\xc0\x14");
    message.resize(64, 0);
    message.extend(b"\xc0\x1a");
    message.resize(92, 0);
    message.push(0);
    let read = |at| parser::name(&message, at).map(|(name, next)| (name.as_bytes().to_vec(), next));
    assert_eq!(read(20), Some((b"F.ISI.ARPA".to_vec(), 32)));
    assert_eq!(read(40), Some((b"FOO.F.ISI.ARPA".to_vec(), 46)));
    assert_eq!(read(64), Some((b"ARPA".to_vec(), 66)));
    assert_eq!(read(92), Some((Vec::new(), 93)));
}

#[test]
fn refuses_pointers_that_do_not_point_back() {
    for name in [
        &b"\xc0\x0c"[..],
        b"\xc0\x0e\0\0",
        b"\x01a\xc0\x0c",
        b"\x80\0",
        b"\x05ab",
    ] {
        let data = dns(0, [1, 0, 0, 0], name);
        assert!(parser::name(&data, HEADER).is_none(), "{name:?}");
    }
}

#[test]
fn names_end_at_255_octets() {
    let name = |last: usize| {
        let mut wire = vec![0; HEADER];
        for length in [63, 63, 63, last] {
            wire.push(length as u8);
            wire.extend(vec![b'x'; length]);
        }
        wire.push(0);
        wire
    };
    // Four length octets, the root's, and 250 characters: 255.
    let (longest, _) = parser::name(&name(61), HEADER).unwrap();
    assert_eq!(longest.as_bytes().len(), 253);
    assert!(parser::name(&name(62), HEADER).is_none());
}

#[test]
fn record_types_have_their_fields() {
    let address = Rdata::Address {
        rdata: Ipv4Addr::new(192, 0, 2, 1).into(),
    };
    assert_eq!(rdata_of(1, &[192, 0, 2, 1]), [address]);
    assert_eq!(rdata_of(1, &[192, 0, 2]), [Rdata::None {}]);
    assert_eq!(text_of(5, b"\x03www\xc0\x0c"), "www.example.com");
    assert_eq!(text_of(15, b"\0\x0a\x02mx\xc0\x0c"), "mx.example.com");
    assert_eq!(text_of(10, b"\x01\xff"), "\u{1}\\xff");
    let [Rdata::Soa { soa }] = &rdata_of(
        6,
        b"\x02ns\xc0\x0c\x02me\xc0\x0c\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05",
    )[..] else {
        panic!()
    };
    assert_eq!(
        (soa.mname.to_str(), soa.minimum),
        ("ns.example.com".into(), 5)
    );
    let [Rdata::Srv { srv }] = &rdata_of(33, b"\0\x01\0\x02\x01\xbb\x01s\xc0\x0c")[..] else {
        panic!()
    };
    assert_eq!((srv.priority, srv.weight, srv.port), (1, 2, 443));
    let [Rdata::Sshfp { sshfp }] = &rdata_of(44, b"\x02\x01\xab\xcd")[..] else {
        panic!()
    };
    assert_eq!(
        (sshfp.algo, sshfp.kind, &sshfp.fingerprint.0[..]),
        (2, 1, &b"\xab\xcd"[..])
    );
}

#[test]
fn txt_strings_are_one_answer_each() {
    let strings = rdata_of(16, b"\x03abc\0");
    assert_eq!(
        strings,
        [
            Rdata::Text {
                rdata: "abc".into()
            },
            Rdata::Text { rdata: "".into() }
        ]
    );
}

#[test]
fn other_types_have_their_presentation_format() {
    // RFC 8659 section 4.1.1, RFC 6698 section 2.2, RFC 4034 section 5.4, RFC 9460 appendix D.
    assert_eq!(
        text_of(257, b"\0\x05issueca.example.net"),
        "0 issue \"ca.example.net\""
    );
    assert_eq!(text_of(52, b"\x03\x01\x01\xd2\xab"), "3 1 1 d2ab");
    assert_eq!(text_of(43, b"\xec\x45\x05\x01\x2b\xb1"), "60485 5 1 2bb1");
    assert_eq!(
        text_of(
            65,
            b"\0\x01\0\0\x01\0\x06\x02h2\x02h3\0\x04\0\x04\xc0\0\x02\x01"
        ),
        "1 . alpn=h2,h3 ipv4hint=192.0.2.1"
    );
    assert_eq!(
        text_of(35, b"\0\x64\0\x32\x01s\x07SIP+D2U\0\x04_sip\xc0\x0c"),
        "100 50 \"s\" \"SIP+D2U\" \"\" _sip.example.com."
    );
}

#[test]
fn what_breaks_is_left_out_and_told() {
    let mut body = QUESTION.to_vec();
    body.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x7f\0\0\x01\xc0\x0c\0\x01");
    let message = message(&dns(0x8180, [1, 9, 0, 0], &body), 0).unwrap();
    assert!(message.malformed);
    assert_eq!(message.dns.answers.0.len(), 1);
}

#[test]
fn probes_by_content_on_any_port() {
    let unicast = Dns::Unicast;
    let query = dns(0x0100, [1, 0, 0, 0], QUESTION);
    assert_eq!(
        unicast.probe(hint(Transport::Datagram, 8053), &query),
        Probe::Certain
    );
    assert_eq!(
        unicast.probe(hint(Transport::Datagram, 8053), b"GET / HTTP/1.0\r\n\r\n"),
        Probe::NotForUs
    );
    assert_eq!(
        unicast.probe(hint(Transport::Datagram, 53), &[0; 5]),
        Probe::NotForUs
    );
    assert_eq!(
        Dns::Multicast.probe(hint(Transport::Datagram, 53), &query),
        Probe::NotForUs
    );
    assert_eq!(
        Dns::Multicast.probe(hint(Transport::Datagram, 5353), &query),
        Probe::Certain
    );
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend(&query);
    let stream = hint(Transport::Stream, 53);
    for length in 0..framed.len() {
        assert_ne!(
            unicast.probe(stream, &framed[..length]),
            Probe::NotForUs,
            "{length}"
        );
    }
    assert_eq!(unicast.probe(stream, &framed), Probe::Certain);
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(data: Vec<u8>, counts: [u8; 4]) {
        let _ = message(&data, 0);
        let _ = message(&dns(0x8180, counts.map(u16::from), &data), 0);
        for transport in [Transport::Datagram, Transport::Stream] {
            let _ = Dns::Unicast.probe(hint(transport, 53), &data);
        }
    }
}
