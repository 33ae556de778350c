use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::Service;
use crate::{DEADLINE, Host};

/// A client that is connected and has asked for nothing yet.
#[derive(Debug)]
pub struct Connection {
    runtime: Runtime,
    stream: TcpStream,
    service: Service,
}

impl Connection {
    /// Connects from a host.
    ///
    /// # Errors
    /// If the connection does not come about.
    pub fn open(host: &Host, to: SocketAddr, service: Service) -> Result<Self> {
        // A socket stays in the namespace that it was made in.
        host.namespace.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let connecting = async { timeout(DEADLINE, TcpStream::connect(to)).await };
            let stream = runtime.block_on(connecting).context("no connection")??;
            Ok(Self {
                runtime,
                stream,
                service,
            })
        })?
    }

    /// Has the service's conversation; `number` chooses what the server is to send.
    ///
    /// # Errors
    /// If the connection breaks, or a byte is not what it should be.
    pub fn converse(mut self, number: u64) -> Result<()> {
        let asking = async {
            let asked = self.service.ask(&mut self.stream, number);
            timeout(DEADLINE, asked).await
        };
        self.runtime.block_on(asking).context("no answer")?
    }
}
