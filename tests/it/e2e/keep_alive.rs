//! A connection with many requests: the kernel samples its first packets, and the rest because user
//! space asks for more.

use sensor::config::Config;
use sensor_tests::traffic::KeepAlive;
use sensor_tests::{DEADLINE, root_or_skip, until};

use super::Scene;

/// Requests on one connection, each at least one packet.
const REQUESTS: usize = 200;

/// Paths of all requests that were told, in their order.
fn told(scene: &Scene) -> Vec<String> {
    let events = scene.sensor.events();
    let http = events.iter().filter(|event| event["event_type"] == "http");
    http.map(|event| event["http"]["url"].as_str().expect("a path").to_owned())
        .collect()
}

#[test]
fn every_request_of_a_long_connection_is_told() {
    if !root_or_skip() {
        return;
    }
    // Without user space's wish these alone would be seen.
    let sampled = Config::default().sampling.first_packets as usize;
    assert!(REQUESTS > 5 * sampled);
    // Nothing is seen by chance, either.
    let config = sensor_tests::scratch().expect("a directory");
    let file = config.path().join("sensor.toml");
    std::fs::write(&file, "[sampling]\none_in = 0\n").expect("a file");
    let file = file.display().to_string();
    let scene = Scene::new(&["-c", &file]);
    let server = (scene.lab.server.ipv4(0), 80).into();
    let path = |number: usize| format!("/page/{number}");
    let fetched = scene.lab.client.block_on(async {
        let mut connection = KeepAlive::open(server).await?;
        connection.get("lab.example", &path(0)).await?;
        // From the first event on the kernel knows what is wanted.
        until("the first request", || {
            (!told(&scene).is_empty()).then_some(())
        })?;
        for number in 1..REQUESTS {
            let path = path(number);
            let get = connection.get("lab.example", &path);
            tokio::time::timeout(DEADLINE, get).await??;
        }
        anyhow::Ok(())
    });
    fetched.expect("a namespace").expect("pages");
    let all: Vec<_> = (0..REQUESTS).map(path).collect();
    let seen = until("all requests", || {
        let seen = told(&scene);
        (seen.len() >= REQUESTS).then_some(seen)
    });
    let seen = seen.unwrap_or_else(|error| panic!("{error}: {:?}", told(&scene)));
    assert_eq!(seen, all);
    assert_eq!(scene.accounting_error(), 0.0);
}
