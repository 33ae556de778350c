//! Exact counts: the sensor's against the kernel's own.

use std::{collections::BTreeSet, net::IpAddr};

use sensor_ebpf::lab::{QINQ, QINQ_OUTER};
use sensor_tests::traffic::{self, DnsType};
use sensor_tests::{Generator, StreamSpec, VLANS, root_or_skip, until};

use serde_json::json;

use super::Scene;

/// Small and large exchanges with `server` in both directions.
fn exchange(scene: &Scene, server: IpAddr) {
    let done = scene.lab.client.block_on(async {
        for id in 0..20 {
            traffic::dns_query(server, id, "www.example", DnsType::A).await?;
        }
        traffic::dns_query_tcp(server, 99, "www.example", DnsType::Aaaa).await?;
        traffic::http_get((server, 80).into(), "www.example", "/small").await?;
        // Large enough for the server's stack to send segments of up to 64 KB (GSO).
        traffic::http_get((server, 80).into(), "www.example", "/bytes/3000000").await?;
        anyhow::Ok(())
    });
    done.expect("a namespace").expect("an exchange");
}

/// The events, if this is root.
fn counts_agree(server: impl Fn(&Scene) -> IpAddr) -> Option<Vec<serde_json::Value>> {
    if !root_or_skip() {
        return None;
    }
    let scene = Scene::new(&[]);
    let before = scene.balance();
    exchange(&scene, server(&scene));
    let [ingress, egress] = scene.balance().assert_equal_since(&before);
    // 3,000,000 bytes in segments of at most 1,460 bytes; at least one packet each way for each
    // query.
    assert!(egress > 3_000_000 / 1460 + 20, "{egress}");
    assert!(ingress > 20 + 10, "{ingress}");
    assert_eq!(scene.accounting_error(), 0.0);
    let ended = scene.sensor.stop().expect("the sensor ends");
    assert!(ended.status.success(), "{}", ended.messages);
    Some(ended.events)
}

#[test]
fn ipv4_packets_and_bytes_are_the_kernels() {
    counts_agree(|scene| scene.lab.server.ipv4(0));
}

#[test]
fn ipv6_packets_and_bytes_are_the_kernels() {
    counts_agree(|scene| scene.lab.server.ipv6(0));
}

#[test]
fn vlan_packets_and_bytes_are_the_kernels() {
    counts_agree(|scene| scene.lab.server.ipv4(VLANS[0]));
}

#[test]
fn packets_and_bytes_with_two_tags_are_the_kernels() {
    let Some(events) = counts_agree(|scene| scene.lab.server.ipv4(QINQ)) else {
        return;
    };
    let to = format!("10.77.{QINQ}.2");
    let mut kinds = BTreeSet::new();
    for event in events
        .iter()
        .filter(|event| event["dest_ip"] == to.as_str())
    {
        assert_eq!(event["vlan"], json!([QINQ_OUTER, QINQ]), "{event}");
        kinds.extend(event["event_type"].as_str());
    }
    assert!(
        kinds.is_superset(&["dns", "flow", "http"].into()),
        "{kinds:?}"
    );
}

#[test]
fn half_a_million_segments_of_a_flood_are_counted_and_alerted() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new(&[]);
    let before = scene.balance();
    let target = (scene.lab.server.ipv4(0), 80).into();
    let flood = StreamSpec::syns(target, scene.lab.server.mac());
    let sent = Generator::send(&scene.lab.attacker.namespace, "a0", &flood, 500_000);
    let sent = sent.expect("a flood");
    assert_eq!(sent.frames, 500_000);
    let [ingress, _] = scene.balance().assert_equal_since(&before);
    // The queue may have had no room for some; those that arrived are counted.
    assert!(ingress > 0 && ingress <= 500_000, "{ingress}");
    assert_eq!(scene.accounting_error(), 0.0);
    let syn = scene
        .sensor
        .sum("sensor_syn_packets_total", &[])
        .expect("the counter");
    assert_eq!(syn as u64, ingress);
    // A flood is judged when its first window of a second is over.
    until("an alert", || {
        let alerts = scene.sensor.sum("sensor_alerts_total", &[]).ok()?;
        (alerts > 0.0).then_some(())
    })
    .expect("an alert");
    let ended = scene.sensor.stop().expect("the sensor ends");
    let is_alert = |event: &&serde_json::Value| event["event_type"] == "alert";
    assert!(ended.events.iter().any(|event| is_alert(&event)));
}
