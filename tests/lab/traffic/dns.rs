use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::server::bind_to;

/// Types of question that the lab's server has answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsType {
    A = 1,
    Aaaa = 28,
}

/// Asks the server over UDP and returns the response's code (RFC 1035 section 4.1.1): 0, or 3
/// for names that start with `nx`.
///
/// # Errors
/// Without a well-formed answer in time.
pub async fn query(server: IpAddr, id: u16, name: &str, kind: DnsType) -> Result<u8> {
    let socket = UdpSocket::bind(bind_to(server, 0)).await?;
    socket.connect((server, 53)).await?;
    socket.send(&question(id, name, kind)).await?;
    let mut answer = [0; 512];
    let length = tokio::time::timeout(crate::DEADLINE, socket.recv(&mut answer))
        .await
        .context("no DNS answer")??;
    code(id, &answer[..length])
}

/// The same over TCP.
///
/// # Errors
/// Without a well-formed answer in time.
pub async fn query_tcp(server: IpAddr, id: u16, name: &str, kind: DnsType) -> Result<u8> {
    let mut stream = TcpStream::connect((server, 53)).await?;
    stream
        .write_all(&framed(&question(id, name, kind))?)
        .await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    code(id, &answer)
}

fn code(id: u16, answer: &[u8]) -> Result<u8> {
    ensure!(
        answer.len() >= 12 && answer[..2] == id.to_be_bytes(),
        "not the answer to {id}"
    );
    Ok(answer[3] & 0xf)
}

fn framed(message: &[u8]) -> Result<Vec<u8>> {
    let mut framed = u16::try_from(message.len())?.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    Ok(framed)
}

fn question(id: u16, name: &str, kind: DnsType) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    // Recursion desired, one question.
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, kind as u8, 0, 1]);
    message
}

/// The answer to a question as [`question`] makes it; nothing to anything else.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let kind = question.get(12..)?.iter().rev().nth(2).copied()?;
    let missing = question.get(13..15)? == b"nx";
    let mut message = question.to_vec();
    // A response with recursion; 3 is "no such name".
    message[2] = 0x81;
    message[3] = if missing { 0x83 } else { 0x80 };
    let data: &[u8] = match kind {
        1 => &[192, 0, 2, 7],
        28 => &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
        _ => return Some(message),
    };
    if !missing {
        message[7] = 1;
        // A pointer to the name asked for, type, class IN, 300 seconds.
        message.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 1, 44, 0, data.len() as u8]);
        message.extend_from_slice(data);
    }
    Some(message)
}

pub(super) async fn serve_udp(socket: UdpSocket) -> Result<()> {
    let mut message = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut message).await?;
        if let Some(answer) = answer(&message[..length]) {
            socket.send_to(&answer, from).await?;
        }
    }
}

pub(super) async fn serve_tcp(listener: TcpListener) -> Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut message = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut message).await?;
            if let Some(answer) = answer(&message) {
                stream.write_all(&framed(&answer)?).await?;
            }
            anyhow::Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{DnsType, answer, code, question};

    #[test]
    fn server_answers_by_name_and_type() {
        let found = answer(&question(7, "www.example", DnsType::A)).expect("a question");
        assert_eq!(code(7, &found).expect("an answer"), 0);
        assert!(found.ends_with(&[0, 4, 192, 0, 2, 7]));
        let missing = answer(&question(8, "nx.example", DnsType::Aaaa)).expect("a question");
        assert_eq!(code(8, &missing).expect("an answer"), 3);
        assert!(code(9, &missing).is_err());
    }
}
