use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Fetches `path` and returns the status code and the body. `/bytes/N` has N bytes; paths that
/// start with `/missing` are not found.
///
/// # Errors
/// Without a well-formed response.
pub async fn get(server: SocketAddr, host: &str, path: &str) -> Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sensor-lab\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    let end = response
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .context("no end of the response's headers")?;
    let body = response.split_off(end + 4);
    let status = std::str::from_utf8(&response)?
        .split(' ')
        .nth(1)
        .context("no status in the response")?
        .parse()?;
    Ok((status, body))
}

/// A connection that stays open from one request to the next.
#[derive(Debug)]
pub struct KeepAlive {
    stream: BufReader<TcpStream>,
}

impl KeepAlive {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens.
    pub async fn open(server: SocketAddr) -> Result<Self> {
        let stream = BufReader::new(TcpStream::connect(server).await?);
        Ok(Self { stream })
    }

    /// Fetches `path`, as [`get`] does, and returns the body.
    ///
    /// # Errors
    /// Without a well-formed response.
    pub async fn get(&mut self, host: &str, path: &str) -> Result<Vec<u8>> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).await?;
        let mut length = None;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await?;
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = Some(value.trim().parse()?);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length.context("no length in the response")?];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }
}

pub(super) async fn serve(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) -> Result<()> {
    // A client that wants no more says so, or leaves.
    while answer_one(&mut stream).await? {}
    stream.shutdown().await?;
    Ok(())
}

/// Answers one request; returns whether another may follow.
async fn answer_one(stream: &mut TcpStream) -> Result<bool> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && request.len() < 8192 {
        request.push(stream.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or("/");
    let (connection, stays) = match request.contains("Connection: close") {
        true => ("close", false),
        false => ("keep-alive", true),
    };
    let (status, body) = match path.strip_prefix("/bytes/").and_then(|n| n.parse().ok()) {
        Some(length) => ("200 OK", vec![b'x'; length]),
        None if path.starts_with("/missing") => ("404 Not Found", b"no such page\n".to_vec()),
        None => ("200 OK", b"<title>lab</title>\n".to_vec()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nServer: lab\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
         Connection: {connection}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    Ok(stays)
}
