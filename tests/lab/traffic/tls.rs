use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{Host, until};

/// `openssl s_server` on port 443 with a certificate of its own, until dropped.
#[derive(Debug)]
pub struct TlsServer {
    child: Child,
    _certificate: TempDir,
}

impl TlsServer {
    /// Starts it; when this returns, it listens.
    ///
    /// # Errors
    /// Without `openssl`.
    pub fn start(host: &Host) -> Result<Self> {
        let directory = crate::scratch()?;
        let [key, certificate] = ["key.pem", "cert.pem"].map(|name| directory.path().join(name));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args([
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=lab.example",
                "-keyout",
            ])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .context("cannot start openssl (Debian: apt-get install openssl)")?;
        ensure!(
            made.status.success(),
            "openssl req: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let child = host
            .namespace
            .command("openssl")
            .args([
                "s_server", "-accept", "443", "-www", "-quiet", "-alpn", "http/1.1", "-key",
            ])
            .arg(&key)
            .arg("-cert")
            .arg(&certificate)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start openssl s_server")?;
        let server = Self {
            child,
            _certificate: directory,
        };
        let own = IpAddr::from([127, 0, 0, 1]);
        until("openssl s_server listens", || {
            host.block_on(TcpStream::connect((own, 443))).ok()?.ok()
        })?;
        Ok(server)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        // It may have ended by itself; then both calls have nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One handshake from `host`, without data; returns the protocol's version, e.g. `TLSv1.3`.
///
/// # Errors
/// If the handshake fails.
pub fn handshake(host: &Host, server: IpAddr, name: &str) -> Result<String> {
    let target = std::net::SocketAddr::from((server, 443)).to_string();
    let output = host
        .namespace
        .command("openssl")
        .args([
            "s_client",
            "-connect",
            &target,
            "-servername",
            name,
            "-alpn",
            "http/1.1",
        ])
        .stdin(Stdio::null())
        .output()
        .context("cannot start openssl s_client")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("New, ")?.split(',').next())
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(version.to_owned())
}
