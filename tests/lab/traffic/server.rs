use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;

use super::{dns, http, ssh};
use crate::Host;

/// DNS (UDP and TCP 53), HTTP (80) and SSH's identification (22) on all addresses of a host,
/// until dropped.
#[derive(Debug)]
pub struct Servers {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<Result<()>>>>,
}

impl Servers {
    /// Starts them; when this returns, they listen.
    ///
    /// # Errors
    /// If a port is taken.
    pub fn start(host: &Host) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (ready, listening) = std::sync::mpsc::channel();
        let thread = host.namespace.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                tokio::select! {
                    done = serve(ready) => done,
                    _ = stopped => Ok(()),
                }
            })
        });
        let servers = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        match listening.recv() {
            Ok(()) => Ok(servers),
            Err(_) => Err(servers.failure()),
        }
    }

    fn failure(mut self) -> anyhow::Error {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Ok(Err(error)) | Err(error))) => error,
            _ => anyhow::anyhow!("the servers ended without a reason"),
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A server that failed shows at its clients.
            let _ = thread.join();
        }
    }
}

async fn serve(ready: std::sync::mpsc::Sender<()>) -> Result<()> {
    let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listen = async |port| {
        TcpListener::bind(any(port))
            .await
            .with_context(|| format!("cannot listen on port {port}"))
    };
    let (ssh, dns, http) = (listen(22).await?, listen(53).await?, listen(80).await?);
    let udp = UdpSocket::bind(any(53))
        .await
        .context("cannot bind UDP port 53")?;
    ready.send(()).context("nobody waits for the servers")?;
    tokio::try_join!(
        ssh::serve(ssh),
        dns::serve_tcp(dns),
        dns::serve_udp(udp),
        http::serve(http)
    )?;
    Ok(())
}

/// The wildcard address of `peer`'s family.
pub(super) fn bind_to(peer: IpAddr, port: u16) -> SocketAddr {
    match peer {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
    }
}
