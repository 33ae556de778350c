//! What heads and bodies mean for the transactions of their connection.

use memchr::memchr;

use super::{
    HEADER, HOST, METHOD, REQUEST_BODY, RESPONSE_BODY, STATUS, URI, USER_AGENT,
    body::{Body, Chunk, Framing, Step},
    connection::{Connection, Next, State},
    parser::{Head, Kind, status_code},
    transaction::Transaction,
};
use crate::core::proto::{Context, Side};

impl Connection {
    pub(super) fn on_head(
        &mut self,
        side: Side,
        head: &Head<'_>,
        data: &[u8],
        ctx: &mut Context<'_>,
    ) -> Next {
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
        let mut transaction = Transaction::request(self.count, head);
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
        let Some(transaction) = self.answered() else {
            return Next::Go;
        };
        transaction.response(head);
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

    pub(super) fn on_body(
        &mut self,
        side: Side,
        body: &mut Body,
        data: &[u8],
        ctx: &mut Context<'_>,
    ) -> Step {
        let kind = self.kind(side);
        let framed = matches!(body, Body::Chunked(chunk) if *chunk != Chunk::Trailer);
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
                // As transferred: the lines around chunks count, trailers belong to no body.
                transaction.http.length += if framed { consumed } else { content.len() } as u64;
            }
            ctx.buffer(side, RESPONSE_BODY, content);
        }
        step
    }

    pub(super) fn end_of_body(&mut self, side: Side, ctx: &mut Context<'_>) {
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
}
