//! One connection: finds the messages of both directions and pairs them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    METHODS,
    body::{Body, Step},
    parser::{Kind, MAX_HEAD, head},
    transaction::Transaction,
};
use crate::core::{
    event,
    proto::{Context, Gap, Parser, Progress, Side},
};

/// Most requests of one connection that may wait for their response.
const MAX_PENDING: usize = 512;

/// Where one direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// At the start of a message.
    #[default]
    Head,
    Body(Body),
    /// Behind a hole, or lost: a message is looked for at the start of what comes.
    Resync,
    /// Behind a CONNECT that is not answered yet.
    Waiting,
}

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// The side that sends requests, once known.
    pub(super) client: Option<Side>,
    /// By [`Side`].
    pub(super) state: [State; 2],
    /// Requests without a complete response, oldest first.
    pub(super) pending: VecDeque<Transaction>,
    /// Transactions so far.
    pub(super) count: u64,
    ended: [bool; 2],
}

/// How to go on after a message's head or body.
pub(super) enum Next {
    Go,
    Handover,
    Done,
}

impl Connection {
    pub(super) fn kind(&self, side: Side) -> Kind {
        if self.client == Some(side) {
            Kind::Request
        } else {
            Kind::Response
        }
    }

    /// The oldest transaction whose response is not complete.
    pub(super) fn answered(&mut self) -> Option<&mut Transaction> {
        self.pending
            .iter_mut()
            .find(|transaction| !transaction.response_done)
    }

    pub(super) fn new_transaction(&mut self, mut transaction: Transaction, ctx: &mut Context<'_>) {
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

    pub(super) fn emit_complete(&mut self, ctx: &mut Context<'_>) {
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

    fn flush(&mut self, ctx: &mut Context<'_>) {
        while let Some(transaction) = self.pending.pop_front() {
            self.emit(transaction, ctx);
        }
    }

    /// One message head from the start of `data`: its length and how to go on; `None` if it is
    /// incomplete.
    fn at_head(
        &mut self,
        side: Side,
        data: &[u8],
        ended: bool,
        ctx: &mut Context<'_>,
    ) -> Option<(usize, Next)> {
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
            return Some((0, Next::Go));
        }
        let head = head(data, kind, ended)?;
        if kind == Kind::Request && head.start[1].is_empty() && !METHODS.contains(&head.start[0]) {
            ctx.anomaly(side, Some(self.count), "REQUEST_LINE_INVALID");
            // The server may answer it all the same, and a request may follow.
            self.state[side as usize] = State::Resync;
            return Some((0, Next::Go));
        }
        self.state[side as usize] = State::Head;
        let next = self.on_head(side, &head, data, ctx);
        Some((head.length, next))
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
                        Some((bytes, Next::Go)) => consumed += bytes,
                        Some((bytes, Next::Handover)) => {
                            return Progress::Handover(consumed + bytes);
                        }
                        Some((_, Next::Done)) => return Progress::Done,
                        None => {
                            return Progress::Need {
                                consumed,
                                bytes: rest.len() + 1,
                            };
                        }
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
}

impl Parser for Connection {
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

    /// RFC 9112 section 9.3: connections persist unless somebody says otherwise, and who does
    /// closes them.
    fn goes_on(&self) -> bool {
        true
    }
}
