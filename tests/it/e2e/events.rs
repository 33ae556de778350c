//! What the sensor tells of real traffic.

use std::net::IpAddr;

use sensor_tests::traffic::{self, DnsType, TlsServer};
use sensor_tests::{Lab, VLANS, root_or_skip, until};
use serde_json::{Value, json};

use super::Scene;

fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event_type"] == kind)
        .collect()
}

/// Plays one of each against `server` and checks what comes out.
fn told(server: impl Fn(&Lab) -> IpAddr, vlan: Option<u8>) {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new(&[]);
    let _tls = TlsServer::start(&scene.lab.server).expect("a TLS server");
    let server = server(&scene.lab);
    let done = scene.lab.client.block_on(async {
        assert_eq!(
            traffic::dns_query(server, 7, "www.example", DnsType::A).await?,
            0
        );
        assert_eq!(
            traffic::dns_query_tcp(server, 8, "nx.example", DnsType::Aaaa).await?,
            3
        );
        let page = traffic::http_get((server, 80).into(), "lab.example", "/missing").await?;
        assert_eq!(page.0, 404);
        anyhow::Ok(())
    });
    done.expect("a namespace").expect("an exchange");
    traffic::tls_handshake(&scene.lab.client, server, "secure.example").expect("a handshake");

    until("an event of each kind", || {
        let events = scene.sensor.events();
        (of(&events, "dns").len() >= 4
            && !of(&events, "http").is_empty()
            && !of(&events, "tls").is_empty())
        .then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:#?}", scene.sensor.events()));
    let packets = |protocol| {
        scene
            .sensor
            .sum("sensor_packets_total", &[protocol])
            .expect("the counter") as u64
    };
    let expected = [packets("protocol=\"tcp\""), packets("protocol=\"udp\"")];
    assert_eq!(scene.accounting_error(), 0.0);
    let ended = scene.sensor.stop().expect("the sensor ends");
    let events = &ended.events;

    for event in events.iter().filter(|event| event["event_type"] != "stats") {
        assert_eq!(event["in_iface"], "s0", "{event}");
    }
    let http = of(events, "http")[0];
    assert_eq!(http["http"]["hostname"], "lab.example");
    assert_eq!(http["http"]["url"], "/missing");
    assert_eq!(http["http"]["status"], 404);
    // EVE writes IPv6 addresses in full.
    let dest_ip: Option<IpAddr> = http["dest_ip"].as_str().and_then(|ip| ip.parse().ok());
    assert_eq!(dest_ip, Some(server));
    assert_eq!(http["dest_port"], 80);
    let tls = of(events, "tls")[0];
    assert_eq!(tls["tls"]["sni"], "secure.example");
    let name = |event: &&Value, name: &str| event["dns"]["queries"][0]["rrname"] == name;
    let dns = of(events, "dns");
    assert_eq!(
        dns.iter()
            .filter(|event| name(event, "www.example"))
            .count(),
        2,
        "{dns:#?}"
    );
    assert_eq!(
        dns.iter().filter(|event| name(event, "nx.example")).count(),
        2,
        "{dns:#?}"
    );
    assert!(
        dns.iter().any(|event| event["dns"]["rcode"] == "NXDOMAIN"),
        "{dns:#?}"
    );
    if let Some(vlan) = vlan {
        for event in [http, tls, dns[0]] {
            assert_eq!(event["vlan"], json!([vlan]), "{event}");
        }
    }
    // Every packet that was counted is in exactly one flow.
    let told = ["TCP", "UDP"].map(|protocol| -> u64 {
        of(events, "flow")
            .iter()
            .filter(|event| event["proto"] == protocol)
            .flat_map(|event| ["pkts_toserver", "pkts_toclient"].map(|key| &event["flow"][key]))
            .map(|count| count.as_u64().expect("a count"))
            .sum()
    });
    assert_eq!(told, expected, "packets of TCP and UDP flows");
}

#[test]
fn ipv4_traffic_is_told() {
    told(|lab| lab.server.ipv4(0), None);
}

#[test]
fn ipv6_traffic_is_told() {
    told(|lab| lab.server.ipv6(0), None);
}

#[test]
fn vlan_traffic_is_told_with_its_tag() {
    told(|lab| lab.server.ipv4(VLANS[0]), Some(VLANS[0]));
}
