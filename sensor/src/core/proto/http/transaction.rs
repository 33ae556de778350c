//! A request and its response, as an event.

use bytes::Bytes;

use super::parser::{Head, status_code, trim};
use crate::core::event::{ContentRange, Extra, Http, Text};

/// What is known of one exchange.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) id: u64,
    pub(super) http: Http,
    pub(super) request_length: u64,
    pub(super) status_message: Option<Text>,
    /// HEAD: the response has no body.
    pub(super) head_only: bool,
    pub(super) connect: bool,
    /// HTTP/0.9: the response is a bare body.
    pub(super) simple: bool,
    pub(super) request_done: bool,
    pub(super) response_started: bool,
    pub(super) response_done: bool,
}

fn text(bytes: &[u8]) -> Text {
    Text(Bytes::copy_from_slice(bytes))
}

fn some(bytes: &[u8]) -> Option<Text> {
    (!bytes.is_empty()).then(|| text(bytes))
}

impl Transaction {
    /// The transaction that `head` requests.
    pub(super) fn request(id: u64, head: &Head<'_>) -> Self {
        let [method, target, version] = head.start;
        let mut transaction = Self {
            id,
            ..Self::default()
        };
        let http = &mut transaction.http;
        http.http_method = some(method);
        http.url = some(target);
        http.protocol = some(version);
        let mut host = authority(method, target);
        for (name, value) in &head.fields {
            let slot = match name.len() {
                4 if host.is_none() && name.eq_ignore_ascii_case(b"host") => {
                    host = Some(value);
                    continue;
                }
                7 if name.eq_ignore_ascii_case(b"referer") => &mut http.http_refer,
                10 if name.eq_ignore_ascii_case(b"user-agent") => &mut http.http_user_agent,
                15 if name.eq_ignore_ascii_case(b"x-forwarded-for") => &mut http.xff,
                _ => continue,
            };
            slot.get_or_insert_with(|| text(value));
        }
        if let Some(host) = host {
            let (name, port) = host_and_port(host);
            http.hostname = (!name.is_empty()).then(|| Text(name.to_ascii_lowercase().into()));
            http.http_port = port;
        }
        transaction.head_only = method == b"HEAD";
        transaction.connect = method == b"CONNECT";
        transaction.simple = version.is_empty();
        transaction
    }

    /// Takes in the response's head.
    pub(super) fn response(&mut self, head: &Head<'_>) {
        let [_, status, reason] = head.start;
        let http = &mut self.http;
        match status_code(status) {
            Some(code) => http.status = Some(code),
            None => http.status_string = some(status),
        }
        self.status_message = some(reason);
        for (name, value) in &head.fields {
            match name.len() {
                8 if name.eq_ignore_ascii_case(b"location") => {
                    http.redirect.get_or_insert_with(|| text(value));
                }
                12 if name.eq_ignore_ascii_case(b"content-type") => {
                    let media = value.split(|&byte| byte == b';').next().unwrap_or_default();
                    http.http_content_type.get_or_insert_with(|| text(media));
                }
                13 if name.eq_ignore_ascii_case(b"content-range") => {
                    http.content_range
                        .get_or_insert_with(|| content_range(value));
                }
                _ => {}
            }
        }
        self.response_started = true;
    }

    /// What EVE has no field for.
    pub(super) fn extra(&mut self) -> Option<Box<Extra>> {
        if self.request_length == 0 && self.status_message.is_none() {
            return None;
        }
        Some(Box::new(Extra {
            request_length: (self.request_length > 0).then_some(self.request_length),
            status_message: self.status_message.take(),
            ..Extra::default()
        }))
    }
}

/// The authority in a target of absolute or authority form (RFC 9112 sections 3.2.2 and 3.2.3).
fn authority<'a>(method: &[u8], target: &'a [u8]) -> Option<&'a [u8]> {
    if method == b"CONNECT" && !target.starts_with(b"/") {
        return Some(target);
    }
    let scheme = target.iter().position(|&byte| byte == b':')?;
    let rest = target.get(scheme..)?.strip_prefix(b"://")?;
    if !target.get(..scheme)?.iter().all(u8::is_ascii_alphabetic) {
        return None;
    }
    let authority = rest
        .split(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .next()?;
    authority.rsplit(|&byte| byte == b'@').next()
}

fn host_and_port(host: &[u8]) -> (&[u8], Option<u16>) {
    let colon = host.iter().rposition(|&byte| byte == b':');
    let Some((name, port)) = colon.and_then(|colon| host.split_at_checked(colon)) else {
        return (host, None);
    };
    // Without brackets, more than one colon is an IPv6 address by itself.
    if name.contains(&b':') && !name.ends_with(b"]") {
        return (host, None);
    }
    let port = std::str::from_utf8(port.get(1..).unwrap_or_default());
    (
        trim(name),
        port.ok().and_then(|port| port.trim().parse().ok()),
    )
}

/// `bytes START-END/SIZE`, where each may be `*` (RFC 9110 section 14.4).
fn content_range(value: &[u8]) -> ContentRange {
    let mut range = ContentRange {
        raw: text(value),
        start: None,
        end: None,
        size: None,
    };
    let parse = |text: &str| text.trim().parse().ok();
    let fields = std::str::from_utf8(value)
        .ok()
        .and_then(|value| value.strip_prefix("bytes"));
    if let Some((span, size)) = fields.and_then(|fields| fields.split_once('/')) {
        range.size = parse(size);
        if let Some((start, end)) = span.split_once('-') {
            range.start = parse(start);
            range.end = parse(end);
        }
    }
    range
}
