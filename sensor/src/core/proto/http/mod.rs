//! HTTP/0.9 to 1.1 (RFC 9112).

mod body;
mod parser;
mod transaction;

use std::collections::VecDeque;

use bytes::Bytes;
use memchr::memchr;

use self::{
    body::{Body, Framing, Step},
    parser::{Head, Kind, MAX_HEAD, head},
    transaction::Transaction,
};
use super::{Buffer, Context, Gap, Parser, Probe, ProbeHint, Progress, Protocol, Side, Transport};
use crate::core::event;

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

/// Most requests of one connection that may wait for their response.
const MAX_PENDING: usize = 512;

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
#[derive(Clone, Copy, Debug, Default)]
pub struct Http {
    /// Puts all header fields into the events.
    pub dump_headers: bool,
}

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
        Box::new(HttpParser {
            dump_headers: self.dump_headers,
            client: None,
            state: [State::Head, State::Head],
            pending: VecDeque::new(),
            count: 0,
            ended: [false; 2],
        })
    }
}

/// RFC 9110 section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

fn status_code(text: &[u8]) -> Option<u16> {
    let text = (text.len() == 3)
        .then(|| std::str::from_utf8(text).ok())
        .flatten()?;
    text.parse().ok().filter(|code| (100..1000).contains(code))
}

/// Where one direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of a message.
    Head,
    Body(Body),
    /// Behind a hole, or lost: a message is looked for at the start of what comes.
    Resync,
    /// Behind a CONNECT that is not answered yet.
    Waiting,
}

/// One connection.
#[derive(Debug)]
struct HttpParser {
    dump_headers: bool,
    /// The side that sends requests, once known.
    client: Option<Side>,
    /// By [`Side`].
    state: [State; 2],
    /// Requests without a complete response, oldest first.
    pending: VecDeque<Transaction>,
    /// Transactions so far.
    count: u64,
    ended: [bool; 2],
}

/// How to go on after a message's head or body.
enum Next {
    Go,
    Handover,
    Done,
}

impl HttpParser {
    fn kind(&self, side: Side) -> Kind {
        if self.client == Some(side) {
            Kind::Request
        } else {
            Kind::Response
        }
    }

    fn new_transaction(&mut self, mut transaction: Transaction, ctx: &mut Context<'_>) {
        if self.pending.len() >= MAX_PENDING {
            let side = self.client.unwrap_or(Side::Originator);
            ctx.anomaly(side, Some(self.count), "TOO_MANY_TRANSACTIONS");
            if let Some(oldest) = self.pending.pop_front() {
                self.emit(oldest, ctx);
            }
        }
        transaction.id = self.count;
        self.count += 1;
        self.pending.push_back(transaction);
    }

    fn emit(&self, mut transaction: Transaction, ctx: &mut Context<'_>) {
        let client = self.client.unwrap_or(Side::Originator);
        let extra = transaction.extra();
        let http = Box::new(transaction.http);
        ctx.event_with(
            client,
            Some(transaction.id),
            event::Body::Http { http },
            extra,
        );
    }

    fn emit_complete(&mut self, ctx: &mut Context<'_>) {
        while let Some(first) = self
            .pending
            .pop_front_if(|tx| tx.request_done && tx.response_done)
        {
            self.emit(first, ctx);
        }
        if self.pending.is_empty() {
            // Room for four transactions is 2 KiB, which idle and closed flows would keep.
            self.pending = VecDeque::new();
        }
    }

    fn on_head(&mut self, side: Side, head: &Head<'_>, data: &[u8], ctx: &mut Context<'_>) -> Next {
        let kind = self.kind(side);
        let framing = Framing::of(head);
        let request = kind == Kind::Request;
        let count = self.count;
        let answered = self.answered().map(|transaction| transaction.id);
        let tx_id = answered.filter(|_| !request).or(Some(count));
        for (happened, names) in [
            (
                head.missing_colon,
                [
                    "REQUEST_FIELD_MISSING_COLON",
                    "RESPONSE_FIELD_MISSING_COLON",
                ],
            ),
            (
                head.folded,
                ["REQUEST_HEADER_FOLDED", "RESPONSE_HEADER_FOLDED"],
            ),
            (
                framing.duplicate_length,
                [
                    "DUPLICATE_CONTENT_LENGTH_FIELD_IN_REQUEST",
                    "DUPLICATE_CONTENT_LENGTH_FIELD_IN_RESPONSE",
                ],
            ),
            (
                framing.invalid_length,
                [
                    "INVALID_CONTENT_LENGTH_FIELD_IN_REQUEST",
                    "INVALID_CONTENT_LENGTH_FIELD_IN_RESPONSE",
                ],
            ),
            (
                framing.invalid_encoding,
                [
                    "INVALID_TRANSFER_ENCODING_VALUE_IN_REQUEST",
                    "INVALID_TRANSFER_ENCODING_VALUE_IN_RESPONSE",
                ],
            ),
            (
                framing.chunked && framing.length.is_some(),
                [
                    "AMBIGUOUS_FRAMING_IN_REQUEST",
                    "AMBIGUOUS_FRAMING_IN_RESPONSE",
                ],
            ),
        ] {
            if happened {
                ctx.anomaly(side, tx_id, names[usize::from(!request)]);
            }
        }
        let line = memchr(b'\n', data).map_or(data.len(), |end| end + 1);
        ctx.buffer(
            side,
            HEADER,
            data.get(line..head.length).unwrap_or_default(),
        );
        if request {
            self.on_request(side, head, framing, ctx);
            Next::Go
        } else {
            self.on_response(side, head, framing, ctx)
        }
    }

    fn on_request(&mut self, side: Side, head: &Head<'_>, framing: Framing, ctx: &mut Context<'_>) {
        let mut transaction = Transaction::request(self.count, head, self.dump_headers);
        ctx.buffer(side, METHOD, head.start[0]);
        ctx.buffer(side, URI, head.start[1]);
        if let Some(host) = &transaction.http.hostname {
            ctx.buffer(side, HOST, &host.0);
        } else if head.start[2] == b"HTTP/1.1" {
            ctx.anomaly(side, Some(self.count), "MISSING_HOST_HEADER");
        }
        if let Some(agent) = &transaction.http.http_user_agent {
            ctx.buffer(side, USER_AGENT, &agent.0);
        }
        let body = framing.body(Kind::Request);
        transaction.request_done = body.is_none();
        self.state[side as usize] = match body {
            Some(body) => State::Body(body),
            None if transaction.connect => State::Waiting,
            None => State::Head,
        };
        self.new_transaction(transaction, ctx);
    }

    /// The oldest transaction whose response is not complete.
    fn answered(&mut self) -> Option<&mut Transaction> {
        self.pending
            .iter_mut()
            .find(|transaction| !transaction.response_done)
    }

    fn on_response(
        &mut self,
        side: Side,
        head: &Head<'_>,
        framing: Framing,
        ctx: &mut Context<'_>,
    ) -> Next {
        ctx.buffer(side, STATUS, head.start[1]);
        let code = status_code(head.start[1]);
        if matches!(code, Some(100 | 102..200)) {
            // Interim (RFC 9110 section 15.2): the final response follows.
            return Next::Go;
        }
        if self.answered().is_none() {
            ctx.anomaly(
                side,
                Some(self.count),
                "UNABLE_TO_MATCH_RESPONSE_TO_REQUEST",
            );
            let unseen = Transaction {
                request_done: true,
                ..Transaction::default()
            };
            self.new_transaction(unseen, ctx);
        }
        let dump = self.dump_headers;
        let Some(transaction) = self.answered() else {
            return Next::Go;
        };
        transaction.response(head, dump);
        let connected = transaction.connect && matches!(code, Some(200..300));
        let bodiless = transaction.head_only || connected || matches!(code, Some(101 | 204 | 304));
        let body = framing.body(Kind::Response).filter(|_| !bodiless);
        if let Some(body) = body {
            self.state[side as usize] = State::Body(body);
            return Next::Go;
        }
        self.finish_response(ctx);
        if connected {
            return Next::Handover;
        }
        if code == Some(101) {
            return Next::Done;
        }
        Next::Go
    }

    fn finish_response(&mut self, ctx: &mut Context<'_>) {
        if let Some(transaction) = self.answered() {
            transaction.response_done = true;
            // A refused CONNECT leaves the connection to further requests.
            let refused = transaction.connect;
            if let (true, Some(client)) = (refused, self.client) {
                self.state[client as usize] = State::Head;
            }
        }
        self.emit_complete(ctx);
    }

    fn on_body(&mut self, side: Side, body: &mut Body, data: &[u8], ctx: &mut Context<'_>) -> Step {
        let kind = self.kind(side);
        let framed = matches!(body, Body::Chunked(_));
        let step = body.take(data);
        let (Step::More {
            consumed,
            data: content,
        }
        | Step::End {
            consumed,
            data: content,
        }) = step
        else {
            return step;
        };
        let content = data.get(..content).unwrap_or_default();
        if kind == Kind::Request {
            if let Some(transaction) = self.pending.iter_mut().find(|tx| !tx.request_done) {
                transaction.request_length += content.len() as u64;
            }
            ctx.buffer(side, REQUEST_BODY, content);
        } else {
            if let Some(transaction) = self.answered() {
                // As transferred: EVE's length contains the framing of chunks.
                transaction.http.length += if framed { consumed } else { content.len() } as u64;
            }
            ctx.buffer(side, RESPONSE_BODY, content);
        }
        step
    }

    fn end_of_body(&mut self, side: Side, ctx: &mut Context<'_>) {
        self.state[side as usize] = State::Head;
        if self.kind(side) == Kind::Request {
            if let Some(transaction) = self.pending.iter_mut().find(|tx| !tx.request_done) {
                transaction.request_done = true;
                if transaction.connect && !transaction.response_done {
                    self.state[side as usize] = State::Waiting;
                }
            }
            self.emit_complete(ctx);
        } else {
            self.finish_response(ctx);
        }
    }

    /// One message head from the start of `data`, or how to go on without.
    fn at_head(
        &mut self,
        side: Side,
        data: &[u8],
        ended: bool,
        ctx: &mut Context<'_>,
    ) -> Result<(usize, Next), Progress> {
        let kind = self.kind(side);
        let simple = kind == Kind::Response && self.answered().is_some_and(|tx| tx.simple);
        if kind == Kind::Response && !b"HTTP/".starts_with(data.get(..5).unwrap_or(data)) {
            // An HTTP/0.9 response, or something that only looks like a response to its browser.
            if !simple {
                ctx.anomaly(
                    side,
                    self.answered().map(|tx| tx.id),
                    "RESPONSE_INVALID_PROTOCOL",
                );
            }
            if let Some(transaction) = self.answered() {
                transaction.response_started = true;
                self.state[side as usize] = State::Body(Body::UntilClose);
            } else {
                self.state[side as usize] = State::Resync;
            }
            return Ok((0, Next::Go));
        }
        let Some(head) = head(data, kind, ended) else {
            return Err(Progress::Need {
                consumed: 0,
                bytes: data.len() + 1,
            });
        };
        if kind == Kind::Request && head.start[1].is_empty() && !METHODS.contains(&head.start[0]) {
            ctx.anomaly(side, Some(self.count), "REQUEST_LINE_INVALID");
            return Err(Progress::Failed);
        }
        self.state[side as usize] = State::Head;
        let next = self.on_head(side, &head, data, ctx);
        Ok((head.length, next))
    }

    fn run(&mut self, side: Side, data: &[u8], ended: bool, ctx: &mut Context<'_>) -> Progress {
        if self.client.is_none() {
            let response = data.trim_ascii_start().starts_with(b"HTTP/");
            self.client = Some(if response { side.peer() } else { side });
        }
        let mut consumed = 0;
        loop {
            let rest = data.get(consumed..).unwrap_or_default();
            if rest.is_empty() {
                return Progress::Consumed(consumed);
            }
            match self.state[side as usize] {
                State::Waiting => return Progress::Consumed(consumed),
                State::Body(mut body) => {
                    let step = self.on_body(side, &mut body, rest, ctx);
                    self.state[side as usize] = State::Body(body);
                    match step {
                        Step::More {
                            consumed: bytes, ..
                        } => consumed += bytes,
                        Step::End {
                            consumed: bytes, ..
                        } => {
                            consumed += bytes;
                            self.end_of_body(side, ctx);
                        }
                        Step::Need => {
                            return Progress::Need {
                                consumed,
                                bytes: rest.len() + 1,
                            };
                        }
                        Step::Broken => {
                            let request = self.kind(side) == Kind::Request;
                            let name = if request {
                                "INVALID_REQUEST_CHUNK_LEN"
                            } else {
                                "INVALID_RESPONSE_CHUNK_LEN"
                            };
                            ctx.anomaly(side, None, name);
                            // As a browser would: what follows is content.
                            self.state[side as usize] = if request {
                                State::Resync
                            } else {
                                State::Body(Body::UntilClose)
                            };
                        }
                    }
                }
                State::Resync if !self.resumes(side, rest) => {
                    return Progress::Consumed(data.len());
                }
                State::Resync | State::Head => {
                    let blank = rest
                        .iter()
                        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                        .count();
                    if blank > 0 {
                        consumed += blank;
                        continue;
                    }
                    match self.at_head(side, rest, ended || rest.len() >= MAX_HEAD, ctx) {
                        Ok((bytes, Next::Go)) => consumed += bytes,
                        Ok((bytes, Next::Handover)) => return Progress::Handover(consumed + bytes),
                        Ok((_, Next::Done)) => return Progress::Done,
                        Err(Progress::Need { bytes, .. }) => {
                            return Progress::Need { consumed, bytes };
                        }
                        Err(other) => return other,
                    }
                }
            }
        }
    }

    /// Whether a message starts here, behind a hole.
    fn resumes(&self, side: Side, data: &[u8]) -> bool {
        match self.kind(side) {
            Kind::Response => data.starts_with(b"HTTP/1."),
            Kind::Request => METHODS.iter().any(|&method| {
                data.strip_prefix(method)
                    .is_some_and(|rest| rest.starts_with(b" "))
            }),
        }
    }

    fn flush(&mut self, ctx: &mut Context<'_>) {
        while let Some(transaction) = self.pending.pop_front() {
            self.emit(transaction, ctx);
        }
    }
}

impl Parser for HttpParser {
    fn on_data(&mut self, side: Side, data: &Bytes, ctx: &mut Context<'_>) -> Progress {
        let progress = self.run(side, data, false, ctx);
        if !matches!(progress, Progress::Consumed(_) | Progress::Need { .. }) {
            // The engine drops this parser.
            self.flush(ctx);
        }
        progress
    }

    fn on_gap(&mut self, side: Side, len: u64, _: Gap, ctx: &mut Context<'_>) -> Progress {
        if self.client.is_none() {
            return Progress::Done;
        }
        if let State::Body(mut body) = self.state[side as usize] {
            let within = match body {
                Body::Length(left) => left.min(len),
                Body::Chunked(_) | Body::UntilClose => len,
            };
            if self.kind(side) == Kind::Response
                && let Some(transaction) = self.answered()
            {
                transaction.http.length += within;
            }
            let goes_on = body.skip(len);
            self.state[side as usize] = State::Body(body);
            if !goes_on {
                self.end_of_body(side, ctx);
                self.state[side as usize] = State::Resync;
            }
        } else {
            self.state[side as usize] = State::Resync;
        }
        Progress::Consumed(0)
    }

    fn on_end(&mut self, side: Side, rest: &Bytes, ctx: &mut Context<'_>) {
        self.ended[side as usize] = true;
        if !rest.is_empty() && self.state[side as usize] == State::Head {
            self.run(side, rest, true, ctx);
        }
        let server = self.client.map(Side::peer);
        if server == Some(side) && matches!(self.state[side as usize], State::Body(_)) {
            self.end_of_body(side, ctx);
        }
        // Requests that nobody will answer any more.
        if self.ended == [true; 2] || server.is_none_or(|server| self.ended[server as usize]) {
            self.flush(ctx);
        }
    }

    fn transactions(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests;
