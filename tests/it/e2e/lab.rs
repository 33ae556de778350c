//! The lab by itself: what the other tests take for granted.

use std::net::SocketAddr;

use sensor_tests::traffic::{self, DnsType, Servers, TlsServer};
use sensor_tests::{
    ForeignProgram, Generator, Lab, LabOptions, Sources, StreamSpec, VLANS, root_or_skip, tcp_flag,
};

fn lab() -> Lab {
    Lab::new(LabOptions::default()).expect("the lab is laid")
}

fn syn_flood(lab: &Lab, flows: u32) -> StreamSpec {
    StreamSpec {
        flows,
        ..StreamSpec::syns(SocketAddr::new(lab.server.ipv4(0), 80), lab.server.mac())
    }
}

#[test]
fn every_protocol_works_over_ipv4_ipv6_and_vlans() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _servers = Servers::start(&lab.server).expect("servers");
    let _tls = TlsServer::start(&lab.server).expect("a TLS server");
    for vlan in std::iter::once(0).chain(VLANS) {
        for server in [lab.server.ipv4(vlan), lab.server.ipv6(vlan)] {
            let done = lab.client.block_on(async {
                assert_eq!(
                    traffic::dns_query(server, 1, "a.example", DnsType::A).await?,
                    0
                );
                assert_eq!(
                    traffic::dns_query_tcp(server, 2, "nx.example", DnsType::Aaaa).await?,
                    3
                );
                let (status, body) =
                    traffic::http_get((server, 80).into(), "lab.example", "/bytes/100000").await?;
                assert_eq!((status, body.len()), (200, 100_000));
                assert_eq!(traffic::ssh_banner(server).await?, "SSH-2.0-lab_server_1.0");
                anyhow::Ok(())
            });
            done.expect("a namespace")
                .unwrap_or_else(|error| panic!("{server}: {error:#}"));
            let version = traffic::tls_handshake(&lab.client, server, "lab.example");
            assert_eq!(version.expect("a handshake"), "TLSv1.3");
        }
    }
}

#[test]
fn scan_finds_the_open_ports() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _servers = Servers::start(&lab.server).expect("servers");
    let open = lab
        .attacker
        .block_on(traffic::connect_all(lab.server.ipv4(0), 1..=100));
    assert_eq!(open.expect("a namespace"), [22, 53, 80]);
}

#[test]
fn generator_sends_exactly_what_it_says_and_the_server_gets_it() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _drop = ForeignProgram::drop_all(&lab.server.namespace, "s0").expect("a program");
    let before = lab.server.counters().expect("counters");
    let spec = syn_flood(&lab, 1 << 16);
    let sent = Generator::send(&lab.wire, "ws", &spec, 100_000).expect("frames");
    let got = lab.server.counters().expect("counters").since(before);
    assert_eq!(sent.frames, 100_000);
    assert_eq!((got.rx_packets, got.rx_bytes), (100_000, 6_000_000));
}

#[test]
fn generated_segments_are_valid_and_distinct() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let sources = [
        Sources::One,
        Sources::Network,
        Sources::Range,
        Sources::Everywhere,
    ];
    let vlans = std::iter::once(0).chain(VLANS);
    for (vlan, sources) in vlans.flat_map(|vlan| sources.map(|sources| (vlan, sources))) {
        for to in [lab.server.ipv4(vlan), lab.server.ipv6(vlan)] {
            for tcp_flags in [tcp_flag::ACK, tcp_flag::SYN] {
                // To a port where nobody listens.
                let spec = StreamSpec {
                    vlan,
                    sources,
                    tcp_flags,
                    ..StreamSpec::syns((to, 9).into(), lab.server.mac())
                };
                resets_answer(&lab, &spec);
            }
        }
    }
}

/// A valid segment of no connection is answered with RST; a broken checksum would be counted.
#[track_caller]
fn resets_answer(lab: &Lab, spec: &StreamSpec) {
    let before = lab.server.counters().expect("counters");
    let resets = reset_counts(lab);
    Generator::send(&lab.attacker.namespace, "a0", spec, 500).expect("frames");
    let now = reset_counts(lab);
    assert_eq!(now.1, resets.1, "bad checksums: {spec:?}");
    assert_eq!(now.0 - resets.0, 500, "resets: {spec:?}");
    let got = lab.server.counters().expect("counters").since(before);
    // The server itself may say more, e.g. report its multicast groups.
    assert!(got.rx_packets == 500 && got.tx_packets >= 500, "{got:?}");
}

#[test]
fn pacing_keeps_the_rate() {
    if !root_or_skip() {
        return;
    }
    let lab = lab();
    let _drop = ForeignProgram::drop_all(&lab.server.namespace, "s0").expect("a program");
    let spec = StreamSpec {
        rate: Some(20_000),
        ..syn_flood(&lab, 1 << 16)
    };
    let generator = Generator::start(&lab.attacker.namespace, "a0", &spec).expect("a generator");
    sensor_tests::until("20,000 frames", || {
        (generator.sent() >= 20_000).then_some(())
    })
    .expect("frames");
    let sent = generator.stop().expect("sent");
    // A loaded machine sends later, never more.
    let most = sent.elapsed.as_secs_f64() * 20_000.0 + 1000.0;
    assert!((sent.frames as f64) < most, "{sent:?}");
}

/// Resets sent and segments with bad checksums, as the server's stack counts them (RFC 4022).
fn reset_counts(lab: &Lab) -> (u64, u64) {
    let text = lab
        .server
        .namespace
        .enter(|| std::fs::read_to_string("/proc/thread-self/net/snmp"));
    let text = text.expect("a namespace").expect("/proc/net/snmp");
    let lines: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("Tcp: "))
        .collect();
    let value = |name: &str| {
        let at = lines[0]
            .split(' ')
            .position(|field| field == name)
            .expect("a field");
        lines[1]
            .split(' ')
            .nth(at)
            .expect("a value")
            .parse::<u64>()
            .expect("a number")
    };
    (value("OutRsts"), value("InErrs") + value("InCsumErrors"))
}
