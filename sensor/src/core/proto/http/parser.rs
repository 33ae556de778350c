//! Heads of HTTP/1.x messages: start line and fields (RFC 9112 sections 2 to 5).
//!
//! httparse reads what keeps to the rules. What does not (bare LF, folded fields, missing
//! colons, HTTP/0.9) goes through a line reader that takes everything a lenient server would.

use memchr::{memchr, memmem};

/// Longest head that is waited for, in bytes.
pub(super) const MAX_HEAD: usize = 64 * 1024;
const MAX_FIELDS: usize = 128;

/// A head within the bytes that it was read from.
#[derive(Debug)]
pub(super) struct Head<'a> {
    /// Method, target, version; or version, status, reason.
    pub(super) start: [&'a [u8]; 3],
    pub(super) fields: Vec<(&'a [u8], &'a [u8])>,
    /// Bytes from the start of the message to its body.
    pub(super) length: usize,
    /// A field had no colon.
    pub(super) missing_colon: bool,
    /// A field went on in the next line (RFC 9112 section 5.2).
    pub(super) folded: bool,
}

/// Which kind of message is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

/// Reads the head at the start of `data`; `None` if more bytes are needed. With `ended`, the
/// stream is over and what is there counts as the whole head.
pub(super) fn head(data: &[u8], kind: Kind, ended: bool) -> Option<Head<'_>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut config = httparse::ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true);
    let strict = match kind {
        Kind::Request => {
            let mut request = httparse::Request::new(&mut fields);
            config.parse_request(&mut request, data).map(|status| {
                let start = [
                    request.method.unwrap_or_default().as_bytes(),
                    request.path.unwrap_or_default().as_bytes(),
                    version(request.version),
                ];
                (status, start, collect(request.headers))
            })
        }
        Kind::Response => {
            let mut response = httparse::Response::new(&mut fields);
            config.parse_response(&mut response, data).map(|status| {
                let line = data
                    .get(..memchr(b'\n', data).unwrap_or(0))
                    .unwrap_or_default();
                (status, words(trim(line)), collect(response.headers))
            })
        }
    };
    match strict {
        Ok((httparse::Status::Complete(length), start, fields)) => Some(Head {
            start,
            fields,
            length,
            missing_colon: false,
            folded: false,
        }),
        Ok((httparse::Status::Partial, ..)) if !ended => None,
        Ok(_) | Err(_) => lenient(data, ended),
    }
}

fn collect<'a>(headers: &[httparse::Header<'a>]) -> Vec<(&'a [u8], &'a [u8])> {
    headers
        .iter()
        .map(|header| (header.name.as_bytes(), header.value))
        .collect()
}

const fn version(minor: Option<u8>) -> &'static [u8] {
    match minor {
        Some(0) => b"HTTP/1.0",
        _ => b"HTTP/1.1",
    }
}

fn lenient(data: &[u8], ended: bool) -> Option<Head<'_>> {
    let end = match end_of_head(data) {
        Some(end) => end,
        None if ended || data.len() >= MAX_HEAD => data.len(),
        None => return None,
    };
    let mut lines = data.get(..end)?.split(|&byte| byte == b'\n').map(trim_end);
    let mut head = Head {
        start: [b""; 3],
        fields: Vec::new(),
        length: end,
        missing_colon: false,
        folded: false,
    };
    // Empty lines before the start line are ignored (RFC 9112 section 2.2).
    let first = lines
        .by_ref()
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    head.start = words(first);
    for line in lines.filter(|line| !line.is_empty()) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            head.folded = true;
        } else if head.fields.len() >= MAX_FIELDS {
            break;
        } else if let Some(colon) = memchr(b':', line) {
            let (name, value) = line.split_at(colon);
            head.fields
                .push((trim(name), trim(value.get(1..).unwrap_or_default())));
        } else {
            head.missing_colon = true;
        }
    }
    Some(head)
}

/// Where the body starts: behind the first empty line, whichever way lines end. A request line
/// without version that no field follows is a whole request (HTTP/0.9).
fn end_of_head(data: &[u8]) -> Option<usize> {
    let start = data.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let body = data.get(start..)?;
    let first = memchr(b'\n', body)?;
    let line = trim(body.get(..first)?);
    let next = body.get(first + 1..)?;
    let simple = memmem::find(line, b"HTTP/").is_none() && line.starts_with(b"GET ");
    if simple && memchr(b':', next.get(..memchr(b'\n', next).unwrap_or(next.len()))?).is_none() {
        return Some(start + first + 1);
    }
    let mut at = first + 1;
    loop {
        let rest = body.get(at..)?;
        let end = memchr(b'\n', rest)?;
        at += end + 1;
        if trim_end(rest.get(..end)?).is_empty() {
            return Some(start + at);
        }
    }
}

/// The three parts of a start line; the last one is the rest of it.
fn words(line: &[u8]) -> [&[u8]; 3] {
    let split = |text: &'_ [u8]| -> (usize, usize) {
        let end = text
            .iter()
            .position(|byte| matches!(byte, b' ' | b'\t'))
            .unwrap_or(text.len());
        let blank = text
            .iter()
            .skip(end)
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        (end, end + blank)
    };
    let (end, next) = split(line);
    let (first, rest) = (
        line.get(..end).unwrap_or_default(),
        line.get(next..).unwrap_or_default(),
    );
    // A target may contain blanks: in a request, the version is behind the last one.
    if let Some(version) = memmem::rfind(rest, b" HTTP/") {
        let target = trim(rest.get(..version).unwrap_or_default());
        return [first, target, rest.get(version + 1..).unwrap_or_default()];
    }
    if !first.starts_with(b"HTTP/") {
        return [first, trim(rest), b""];
    }
    let (end, next) = split(rest);
    [
        first,
        rest.get(..end).unwrap_or_default(),
        rest.get(next..).unwrap_or_default(),
    ]
}

pub(super) const fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

const fn trim_end(text: &[u8]) -> &[u8] {
    text.trim_ascii_end()
}

/// The code of a response's status line: three digits (RFC 9112 section 4).
pub(super) fn status_code(text: &[u8]) -> Option<u16> {
    let text = (text.len() == 3)
        .then(|| std::str::from_utf8(text).ok())
        .flatten()?;
    text.parse().ok().filter(|code| (100..1000).contains(code))
}
