use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a server says and a client checks. The names stand for who speaks first: that matters,
/// because a server that comes to a connection by a cookie learns of it from the handshake's last
/// segment alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The client asks for a page; the server answers and closes.
    Http,
    /// The server greets; the client says farewell and is answered.
    Smtp,
    /// The server identifies itself, then the client.
    Ssh,
}

/// Bytes of a page's body: several segments.
const PAGE: usize = 6000;

const GREETING: &[u8] = b"220 mail.example ESMTP\r\n";
const FAREWELL: &[u8] = b"221 Bye\r\n";
const SERVER_BANNER: &[u8] = b"SSH-2.0-server\r\n";
const CLIENT_BANNER: &[u8] = b"SSH-2.0-client\r\n";

/// Bytes of a request for page `number`, the same for all.
const REQUEST: usize = "GET /0123456789abcdef HTTP/1.0\r\n\r\n".len();

impl Service {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Http, Self::Smtp, Self::Ssh];

    /// Its port.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Smtp => 25,
            Self::Ssh => 22,
        }
    }

    /// The client's side of a conversation. `number` chooses what the server is to send.
    ///
    /// # Errors
    /// If the connection breaks, or a byte is not what it should be.
    pub(super) async fn ask(self, stream: &mut TcpStream, number: u64) -> Result<()> {
        match self {
            Self::Http => {
                stream.write_all(&request(number)).await?;
                let mut answer = Vec::with_capacity(PAGE + 64);
                stream.read_to_end(&mut answer).await?;
                ensure!(answer == page(number), "page {number} came otherwise");
            }
            Self::Smtp => {
                expect(stream, GREETING).await?;
                stream.write_all(b"QUIT\r\n").await?;
                expect(stream, FAREWELL).await?;
            }
            Self::Ssh => {
                expect(stream, SERVER_BANNER).await?;
                stream.write_all(CLIENT_BANNER).await?;
                // The server closes once it has read this.
                ensure!(stream.read(&mut [0]).await? == 0, "more than a banner");
            }
        }
        Ok(())
    }

    /// The server's side of a conversation.
    ///
    /// # Errors
    /// If the connection breaks or the client says something else.
    pub(super) async fn answer(self, stream: &mut TcpStream) -> Result<()> {
        match self {
            Self::Http => {
                let mut asked = [0; REQUEST];
                stream.read_exact(&mut asked).await?;
                stream.write_all(&page(number(&asked)?)).await?;
            }
            Self::Smtp => {
                stream.write_all(GREETING).await?;
                expect(stream, b"QUIT\r\n").await?;
                stream.write_all(FAREWELL).await?;
            }
            Self::Ssh => {
                stream.write_all(SERVER_BANNER).await?;
                expect(stream, CLIENT_BANNER).await?;
            }
        }
        stream.shutdown().await?;
        Ok(())
    }
}

fn request(number: u64) -> Vec<u8> {
    format!("GET /{number:016x} HTTP/1.0\r\n\r\n").into_bytes()
}

/// The page that a request asks for.
fn number(request: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(request.get(5..21).unwrap_or_default())?;
    Ok(u64::from_str_radix(text, 16)?)
}

/// A page whose every byte depends on its number.
fn page(number: u64) -> Vec<u8> {
    let mut page = format!("HTTP/1.0 200 OK\r\nContent-Length: {PAGE}\r\n\r\n").into_bytes();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    page.extend(
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(PAGE),
    );
    page
}

async fn expect(stream: &mut TcpStream, wanted: &[u8]) -> Result<()> {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).await?;
    ensure!(
        got == wanted,
        "other bytes: {:?}",
        String::from_utf8_lossy(&got)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{REQUEST, number, page, request};

    #[test]
    fn a_request_names_its_page() {
        let request = request(0x1234_5678_9abc_def0);
        assert_eq!(request.len(), REQUEST);
        assert_eq!(number(&request).expect("a number"), 0x1234_5678_9abc_def0);
        assert!(number(b"GET / HTTP/1.0\r\n\r\n").is_err());
        assert_ne!(page(1), page(2));
    }
}
