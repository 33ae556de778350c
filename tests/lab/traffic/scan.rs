use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Tries to connect to every port of a range, as a port scanner without privileges does, and
/// returns the open ones.
pub async fn connect_all(server: IpAddr, ports: RangeInclusive<u16>) -> Vec<u16> {
    let mut attempts = JoinSet::new();
    for port in ports {
        attempts.spawn(async move {
            let attempt = TcpStream::connect((server, port));
            let open = tokio::time::timeout(Duration::from_secs(5), attempt).await;
            matches!(open, Ok(Ok(_))).then_some(port)
        });
    }
    let mut open: Vec<_> = attempts.join_all().await.into_iter().flatten().collect();
    open.sort_unstable();
    open
}
