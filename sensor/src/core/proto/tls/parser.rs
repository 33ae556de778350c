//! ClientHello, ServerHello and Certificate in wire format (RFC 8446 section 4, RFC 5246
//! section 7.4), and the SSLv2 hello of old clients (RFC 5246 appendix E.2).

use crate::core::proto::cursor::Cursor;

/// Most items that are kept of any of a hello's lists; longer ones are cut.
const MAX_ITEMS: usize = 512;

/// Extension numbers (IANA, "TLS ExtensionType Values").
mod extension {
    pub(super) const SERVER_NAME: u16 = 0;
    pub(super) const SUPPORTED_GROUPS: u16 = 10;
    pub(super) const EC_POINT_FORMATS: u16 = 11;
    pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(super) const ALPN: u16 = 16;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
}

/// RFC 8701: values that clients invent to keep servers tolerant.
pub(super) const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// What a client offers.
#[derive(Debug, Default)]
pub(super) struct ClientHello {
    /// `legacy_version`.
    pub(super) version: u16,
    pub(super) session: Vec<u8>,
    pub(super) ciphers: Vec<u16>,
    pub(super) extensions: Vec<u16>,
    pub(super) server_name: Option<Vec<u8>>,
    pub(super) groups: Vec<u16>,
    pub(super) point_formats: Vec<u8>,
    pub(super) signature_algorithms: Vec<u16>,
    pub(super) alpns: Vec<Vec<u8>>,
    pub(super) versions: Vec<u16>,
    /// The server_name extension is there and cannot be read.
    pub(super) invalid_name: bool,
}

/// What a server chose.
#[derive(Debug, Default)]
pub(super) struct ServerHello {
    /// From supported_versions where it is there.
    pub(super) version: u16,
    pub(super) session: Vec<u8>,
    pub(super) cipher: u16,
    pub(super) alpns: Vec<Vec<u8>>,
    /// A HelloRetryRequest (RFC 8446 section 4.1.4): the real answer follows.
    pub(super) retry: bool,
}

/// SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

fn words(bytes: &[u8]) -> Vec<u16> {
    let pairs = bytes.as_chunks::<2>().0.iter();
    pairs
        .map(|&pair| u16::from_be_bytes(pair))
        .take(MAX_ITEMS)
        .collect()
}

/// The body of a ClientHello message.
pub(super) fn client_hello(body: &[u8]) -> Option<ClientHello> {
    let mut cursor = Cursor::new(body);
    let mut hello = ClientHello {
        version: cursor.u16()?,
        ..ClientHello::default()
    };
    cursor.take(32)?;
    hello.session = cursor.vector8()?.to_vec();
    hello.ciphers = words(cursor.vector16()?);
    let _compression = cursor.vector8()?;
    if cursor.is_empty() {
        return Some(hello);
    }
    let mut extensions = Cursor::new(cursor.vector16()?);
    while let (Some(kind), Some(data)) = (extensions.u16(), extensions.vector16()) {
        if hello.extensions.len() >= MAX_ITEMS {
            break;
        }
        hello.extensions.push(kind);
        let mut data = Cursor::new(data);
        match kind {
            extension::SERVER_NAME => {
                hello.server_name = server_name(data);
                // A server may echo it empty; a client's must name something (RFC 6066 section 3).
                hello.invalid_name = hello.server_name.is_none();
            }
            extension::SUPPORTED_GROUPS => {
                hello.groups = data.vector16().map(words).unwrap_or_default();
            }
            extension::EC_POINT_FORMATS => {
                hello.point_formats = data.vector8().unwrap_or_default().to_vec();
            }
            extension::SIGNATURE_ALGORITHMS => {
                hello.signature_algorithms = data.vector16().map(words).unwrap_or_default();
            }
            extension::ALPN => hello.alpns = alpns(data),
            extension::SUPPORTED_VERSIONS => {
                hello.versions = data.vector8().map(words).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(hello)
}

fn server_name(mut data: Cursor<'_>) -> Option<Vec<u8>> {
    let mut list = Cursor::new(data.vector16()?);
    while let (Some(kind), Some(name)) = (list.u8(), list.vector16()) {
        if kind == 0 {
            return Some(name.to_vec());
        }
    }
    None
}

fn alpns(mut data: Cursor<'_>) -> Vec<Vec<u8>> {
    let mut list = Cursor::new(data.vector16().unwrap_or_default());
    let mut names = Vec::new();
    while let Some(name) = list.vector8().filter(|_| names.len() < MAX_ITEMS) {
        names.push(name.to_vec());
    }
    names
}

/// The body of a ServerHello message.
pub(super) fn server_hello(body: &[u8]) -> Option<ServerHello> {
    let mut cursor = Cursor::new(body);
    let mut hello = ServerHello {
        version: cursor.u16()?,
        ..ServerHello::default()
    };
    hello.retry = cursor.take(32)? == RETRY_RANDOM;
    // TLS 1.3 up to draft 21 left out session and compression.
    let draft = (0x7f00..=0x7f15).contains(&hello.version);
    if !draft {
        hello.session = cursor.vector8()?.to_vec();
    }
    hello.cipher = cursor.u16()?;
    if !draft {
        cursor.u8()?;
    }
    let mut extensions = Cursor::new(cursor.vector16().unwrap_or_default());
    while let (Some(kind), Some(data)) = (extensions.u16(), extensions.vector16()) {
        let mut data = Cursor::new(data);
        match kind {
            extension::ALPN => hello.alpns = alpns(data),
            extension::SUPPORTED_VERSIONS => hello.version = data.u16()?,
            _ => {}
        }
    }
    Some(hello)
}

/// The first certificate of a Certificate message up to TLS 1.2; empty if the chain is.
pub(super) fn certificate(body: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(body);
    let length = cursor.u24()?;
    let mut chain = Cursor::new(cursor.take(length)?);
    if chain.is_empty() {
        return Some(&[]);
    }
    let length = chain.u24()?;
    chain.take(length)
}

/// An SSLv2 CLIENT-HELLO record at the start of `data`: the hello and its length. `None` if it
/// is none, or not complete.
pub(super) fn ssl2_hello(data: &[u8]) -> Option<(ClientHello, usize)> {
    let mut cursor = Cursor::new(data);
    let header = cursor.u16()?;
    let length = usize::from(header & 0x7fff);
    let mut body = Cursor::new(cursor.take(length)?);
    if header & 0x8000 == 0 || body.u8()? != 1 {
        return None;
    }
    let version = body.u16()?;
    let [ciphers, session, challenge] = [body.u16()?, body.u16()?, body.u16()?].map(usize::from);
    if !is_ssl2_version(version) || ciphers % 3 != 0 || 9 + ciphers + session + challenge != length
    {
        return None;
    }
    // Specifications that start with 0 are TLS cipher suites.
    let specifications = body.take(ciphers)?.as_chunks::<3>().0.iter();
    let suites = specifications.filter(|spec| spec[0] == 0);
    let hello = ClientHello {
        version,
        ciphers: suites
            .map(|spec| u16::from_be_bytes([spec[1], spec[2]]))
            .collect(),
        session: body.take(session)?.to_vec(),
        ..ClientHello::default()
    };
    Some((hello, 2 + length))
}

pub(super) const fn is_ssl2_version(version: u16) -> bool {
    matches!(version, 2 | 0x0300..=0x0304)
}
