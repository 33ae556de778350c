//! HTTP/0.9 to 1.1 (RFC 9112).

mod body;
mod connection;
mod message;
mod parser;
mod transaction;

use memchr::memchr;

use self::connection::Connection;
use super::{Buffer, Parser, Probe, ProbeHint, Protocol, Transport};

pub const METHOD: Buffer = Buffer("http.method");
/// The request's target as sent.
pub const URI: Buffer = Buffer("http.uri");
/// Host without port, in lower case.
pub const HOST: Buffer = Buffer("http.host");
pub const USER_AGENT: Buffer = Buffer("http.user_agent");
/// All fields of a head as sent, without the start line.
pub const HEADER: Buffer = Buffer("http.header.raw");
pub const STATUS: Buffer = Buffer("http.stat_code");
/// Pieces of the request's body, in order.
pub const REQUEST_BODY: Buffer = Buffer("http.request_body");
/// Pieces of the response's body, in order, as transferred.
pub const RESPONSE_BODY: Buffer = Buffer("http.response_body");

/// Methods of RFC 9110, RFC 5789, WebDAV (RFC 4918, 3253, 3648, 3744, 5323) and common others.
const METHODS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"CONNECT",
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"CHECKOUT",
    b"CHECKIN",
    b"MERGE",
    b"MKACTIVITY",
    b"VERSION-CONTROL",
    b"PURGE",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"NOTIFY",
    b"M-SEARCH",
    b"BPROPFIND",
    b"POLL",
    b"TRACK",
    b"RPC_IN_DATA",
    b"RPC_OUT_DATA",
    b"INVALID",
    b"DEBUG",
    b"INDEX",
    b"X-MS-ENUMATTS",
];

/// The protocol; see [`Protocol`].
#[derive(Clone, Copy, Debug)]
pub struct Http;

impl Protocol for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn runs_over(&self, transport: Transport) -> bool {
        transport == Transport::Stream
    }

    fn probe(&self, _: ProbeHint, data: &[u8]) -> Probe {
        // RFC 9112 section 2.2: a server ignores empty lines before a request.
        let data = data.trim_ascii_start();
        if let Some(version) = data.get(..7) {
            if version == b"HTTP/1." || version == b"HTTP/0." {
                return Probe::Certain;
            }
        } else if b"HTTP/1.".starts_with(data) {
            return Probe::Unsure;
        }
        let Some(end) = data.iter().take(24).position(|&byte| byte == b' ') else {
            let token = data.iter().take(24).all(|&byte| is_token(byte));
            return if token && data.len() < 24 {
                Probe::Unsure
            } else {
                Probe::NotForUs
            };
        };
        let (method, rest) = data.split_at(end);
        if !method.iter().all(|&byte| is_token(byte)) || method.is_empty() {
            return Probe::NotForUs;
        }
        let known = METHODS.contains(&method);
        if known && (rest.starts_with(b" /") || rest.starts_with(b" http://")) {
            return Probe::Certain;
        }
        let Some(line) = memchr(b'\n', rest).and_then(|end| rest.get(..end)) else {
            return Probe::Unsure;
        };
        // SIP, RTSP and HTTP/2's preface have request lines of the same form.
        match line.trim_ascii().rsplit(|&byte| byte == b' ').next() {
            Some(version) if version.starts_with(b"HTTP/1.") => Probe::Certain,
            Some(version) if known && version.starts_with(b"HTTP/0.") => Probe::Certain,
            _ => Probe::NotForUs,
        }
    }

    fn parser(&self, _: Transport) -> Box<dyn Parser> {
        Box::new(Connection::default())
    }
}

/// RFC 9110 section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests;
