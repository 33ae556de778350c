//! Transactions are told from samples as soon as their bytes are there, not at their flow's end.

use std::net::SocketAddr;

use sensor_tests::{Lab, LabOptions, Sensor, SensorOptions, root_or_skip, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A page longer than the largest segment that leaves a host at once, and two orders longer than
/// a sample.
const PAGE: usize = 200_000;

#[test]
fn transactions_are_told_while_their_connection_stays_open() {
    if !root_or_skip() {
        return;
    }
    let lab = Lab::new(LabOptions::default()).expect("the lab is laid");
    let sensor = Sensor::start(&lab.server, &SensorOptions::default()).expect("the sensor starts");
    let address = SocketAddr::new(lab.server.ipv4(0), 8080);
    let (listening, ready) = std::sync::mpsc::channel();
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    let host = lab.server.clone();
    let server = std::thread::spawn(move || {
        host.block_on(async {
            let listener = TcpListener::bind(address).await?;
            let _ = listening.send(());
            let (mut stream, _) = listener.accept().await?;
            for _ in 0..2 {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await?);
                }
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PAGE}\r\n\r\n");
                let response = [head.as_bytes(), &vec![b'x'; PAGE]].concat();
                stream.write_all(&response).await?;
            }
            let _ = closed.await;
            anyhow::Ok(())
        })
    });
    ready.recv().expect("a server");
    let told = lab.client.block_on(async {
        let mut stream = TcpStream::connect(address).await?;
        let mut told = Vec::new();
        for number in 0..2 {
            let request = format!("GET /{number} HTTP/1.1\r\nHost: lab.example\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut response = vec![0; "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n".len()];
            stream.read_exact(&mut response).await?;
            stream.read_exact(&mut vec![0; PAGE]).await?;
            // The connection is open and nothing more crosses it.
            told.push(until("the transaction", || {
                let events = sensor.events();
                let is_it = |event: &&serde_json::Value| {
                    event["http"]["url"] == format!("/{number}").as_str()
                };
                events.iter().find(is_it).cloned()
            }));
        }
        anyhow::Ok(told)
    });
    drop(close);
    server
        .join()
        .expect("the server")
        .expect("a namespace")
        .expect("the server's exchange");
    let told = told.expect("a namespace").expect("an exchange");
    let samples = ["sensor_sampled_packets_total", "sensor_packets_total"]
        .map(|name| sensor.sum(name, &[]).expect("a counter"));
    for event in told {
        let event = event.unwrap_or_else(|error| {
            panic!(
                "{error} (sampled of all: {samples:?}): {:#?}",
                sensor.events()
            )
        });
        assert_eq!(event["http"]["status"], 200, "{event}");
        assert_eq!(event["http"]["length"], PAGE, "{event}");
    }
    let ended = sensor.stop().expect("it ends");
    let gap = ended
        .events
        .iter()
        .find(|event| event["event_type"] == "anomaly");
    assert_eq!(gap, None, "what was not sampled is no loss");
}
