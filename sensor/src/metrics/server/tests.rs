use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn scrape_waits_for_fresh_counters() {
    let server = Server::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))])
        .await
        .unwrap();
    let address = server.addresses().next().unwrap();
    let exporter = Exporter::new().unwrap();
    let (refresh, mut questions) = Refresh::channel();
    let health = Arc::new(Health::default());
    let serving = tokio::spawn(server.serve(exporter.clone(), refresh, health.clone()));

    let publisher = exporter.clone();
    let looping = tokio::spawn(async move {
        let reply = questions.recv().await.unwrap();
        let snapshot = crate::metrics::Snapshot {
            generations: 42,
            ..Default::default()
        };
        publisher.publish(snapshot);
        reply.send(()).unwrap();
    });
    let response = get(address, "/metrics").await;
    looping.await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(
        response.contains("content-type: text/plain; version=0.0.4"),
        "{response}"
    );
    assert!(
        response.contains("\nsensor_generations_total 42\n"),
        "{response}"
    );
    assert!(
        response.contains("\nprocess_resident_memory_bytes "),
        "{response}"
    );

    // The loop's end is gone: no old counters.
    assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 503"));

    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    let response = get(address, "/readyz").await;
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    assert!(
        response.ends_with("not attached to every interface\n"),
        "{response}"
    );
    health.set_attached(true);
    health.set_draining(true);
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/").await.contains("/metrics"));
    assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
    serving.abort();
}

#[tokio::test]
async fn port_in_use_is_named_with_a_remedy() {
    let first = Server::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))])
        .await
        .unwrap();
    let address = first.addresses().next().unwrap();
    let error = Server::bind(&[address]).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{address} is in use")),
        "{error}"
    );
    assert!(error.contains("metrics.listen"), "{error}");
}
