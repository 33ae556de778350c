use std::net::IpAddr;

use anyhow::Result;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Exchanges identification strings (RFC 4253 section 4.2) and returns the server's.
///
/// # Errors
/// Without a connection.
pub async fn banner(server: IpAddr) -> Result<String> {
    let mut stream = BufReader::new(TcpStream::connect((server, 22)).await?);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    stream.write_all(b"SSH-2.0-lab_client_1.0\r\n").await?;
    stream.shutdown().await?;
    Ok(line.trim_end().to_owned())
}

pub(super) async fn serve(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            stream.write_all(b"SSH-2.0-lab_server_1.0\r\n").await?;
            stream.read_line(&mut String::new()).await?;
            anyhow::Ok(())
        });
    }
}
