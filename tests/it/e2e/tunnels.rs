//! A connection within a tunnel of the kernel's own.

use std::net::{IpAddr, Ipv4Addr};

use sensor_tests::traffic::KeepAlive;
use sensor_tests::{DEADLINE, Host, root_or_skip, skip, until};
use serde_json::Value;

use super::Scene;

/// Requests on one connection: far more packets than the kernel samples of a flow unasked.
const REQUESTS: usize = 100;

const fn inner(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 99, 0, number))
}

/// Lays one end of a VXLAN tunnel between two hosts.
fn lay(host: &Host, peer: &Host, number: u8) -> anyhow::Result<()> {
    let (local, remote, device) = (host.ipv4(0), peer.ipv4(0), host.device);
    let network = &host.namespace;
    network.ip(&format!(
        "link add tunnel type vxlan id 42 local {local} remote {remote} dstport 4789 dev {device}"
    ))?;
    network.ip(&format!("address add {}/24 dev tunnel", inner(number)))?;
    network.ip("link set tunnel up")
}

fn told(events: &[Value], kind: &str) -> Vec<Value> {
    let is = |event: &&Value| event["event_type"] == kind && !event["tunnel"].is_null();
    events.iter().filter(is).cloned().collect()
}

#[test]
fn what_is_within_a_tunnel_is_told_and_not_counted_twice() {
    if !root_or_skip() {
        return;
    }
    let scene = Scene::new(&[]);
    let (client, server) = (&scene.lab.client, &scene.lab.server);
    if let Err(error) = lay(client, server, 1) {
        return skip(&format!("needs a kernel with VXLAN: {error:#}"));
    }
    lay(server, client, 2).expect("the tunnel's other end");
    let fetched = client.block_on(async {
        let mut connection = KeepAlive::open((inner(2), 80).into()).await?;
        for number in 0..REQUESTS {
            if number == 1 {
                // From the first event on the kernel knows what is wanted.
                until("the first request", || {
                    (!told(&scene.sensor.events(), "http").is_empty()).then_some(())
                })?;
            }
            let path = format!("/page/{number}");
            tokio::time::timeout(DEADLINE, connection.get("lab.example", &path)).await??;
        }
        anyhow::Ok(())
    });
    fetched.expect("a namespace").expect("pages");
    until("all requests", || {
        (told(&scene.sensor.events(), "http").len() >= REQUESTS).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:#?}", scene.sensor.events()));
    // Neighbours are asked for now and then: nothing is sent any more once it has been counted.
    for host in [client, server] {
        let down = host.namespace.ip("link set tunnel down");
        down.expect("the tunnel goes down");
    }
    let counted = scene
        .sensor
        .sum("sensor_packets_total", &["protocol=\"udp\""])
        .expect("the counter") as u64;
    let within = scene
        .sensor
        .sum("sensor_tunnelled_packets_total", &["tunnel=\"vxlan\""])
        .expect("the counter");
    assert!(within >= REQUESTS as f64, "{within}");
    assert_eq!(scene.accounting_error(), 0.0);

    let ended = scene.sensor.stop().expect("the sensor ends");
    let http = told(&ended.events, "http");
    assert_eq!(http.len(), REQUESTS);
    for event in &http {
        assert_eq!(event["dest_ip"], "10.99.0.2");
        assert_eq!(event["pkt_src"], "vxlan encapsulation");
        assert_eq!(event["sensor"]["tunnel"]["id"], 42);
        assert_eq!(
            event["tunnel"]["dest_ip"],
            scene.lab.server.ipv4(0).to_string()
        );
    }
    let flows = told(&ended.events, "flow");
    assert!(!flows.is_empty());
    for flow in &flows {
        assert_eq!(flow["sensor"]["counted"], "samples", "{flow}");
    }
    // Every packet that was counted is in exactly one flow that is in no other.
    let outer = ended.events.iter().filter(|event| {
        event["event_type"] == "flow" && event["proto"] == "UDP" && event["tunnel"].is_null()
    });
    let sum: u64 = outer
        .flat_map(|event| ["pkts_toserver", "pkts_toclient"].map(|key| &event["flow"][key]))
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(sum, counted);
}
