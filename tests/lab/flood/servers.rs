use std::net::{Ipv6Addr, SocketAddr};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use tokio::net::TcpSocket;
use tokio::sync::oneshot;

use super::{Cpu, Service};
use crate::Host;

/// How a server listens.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Connections that may wait to be opened, and to be accepted; `net.core.somaxconn` is an
    /// upper bound. The kernel's own cookies begin where it is full.
    pub backlog: u32,
    pub cpu: Option<Cpu>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            cpu: None,
        }
    }
}

/// A server of one [`Service`] on all addresses of a host, until dropped.
#[derive(Debug)]
pub struct Listener {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<Result<()>>>>,
}

impl Listener {
    /// Starts it; when this returns, it listens.
    ///
    /// # Errors
    /// If the port is taken.
    pub fn start(host: &Host, service: Service, options: ListenOptions) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (ready, listening) = std::sync::mpsc::channel();
        let thread = host.namespace.spawn(move || {
            if let Some(cpu) = options.cpu {
                cpu.pin()?;
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                tokio::select! {
                    done = serve(service, options.backlog, ready) => done,
                    _ = stopped => Ok(()),
                }
            })
        });
        let listener = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        match listening.recv() {
            Ok(()) => Ok(listener),
            Err(_) => Err(listener.failure()),
        }
    }

    fn failure(mut self) -> anyhow::Error {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Ok(Err(error)) | Err(error))) => error,
            _ => anyhow::anyhow!("the server ended without a reason"),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A server that failed shows at its clients.
            let _ = thread.join();
        }
    }
}

async fn serve(service: Service, backlog: u32, ready: std::sync::mpsc::Sender<()>) -> Result<()> {
    let port = service.port();
    let socket = TcpSocket::new_v6()?;
    socket.set_reuseaddr(true)?;
    socket
        .bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        .with_context(|| format!("cannot bind port {port}"))?;
    let listener = socket.listen(backlog)?;
    ready.send(()).context("nobody waits for the server")?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        // A conversation that fails here fails at its client, who counts it.
        tokio::spawn(async move { service.answer(&mut stream).await });
    }
}
