//! TLS handshakes over TCP (RFC 8446, RFC 5246), from SSLv2's hello to TLS 1.3.

mod fingerprint;
mod parser;
mod transaction;

use bytes::Bytes;

use self::{
    parser::{certificate, client_hello, is_ssl2_version, server_hello, ssl2_hello},
    transaction::Handshake,
};
use super::{Buffer, Context, Parser, Probe, ProbeHint, Progress, Protocol, Side, Transport};
use crate::core::event::Body;

pub const SNI: Buffer = Buffer("tls.sni");
/// Subject of the server's certificate.
pub const SUBJECT: Buffer = Buffer("tls.cert_subject");
/// Issuer of the server's certificate.
pub const ISSUER: Buffer = Buffer("tls.cert_issuer");

/// RFC 5246 section 6.2.3: 2^14 and what encryption may add.
const MAX_RECORD: usize = (1 << 14) + 2048;
/// Longest handshake message that is put together.
const MAX_MESSAGE: usize = 1 << 16;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;

/// Record types (RFC 8446 section 5.1; RFC 6520 for heartbeats).
mod record {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const APPLICATION_DATA: u8 = 23;
    pub(super) const HEARTBEAT: u8 = 24;
}

/// Handshake message types (RFC 8446 section 4, RFC 5246 section 7.4).
mod message {
    pub(super) const CLIENT_HELLO: u8 = 1;
    pub(super) const SERVER_HELLO: u8 = 2;
    pub(super) const CERTIFICATE: u8 = 11;
    pub(super) const SERVER_HELLO_DONE: u8 = 14;
}

/// The protocol; see [`Protocol`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Tls;

impl Protocol for Tls {
    fn name(&self) -> &'static str {
        "tls"
    }

    fn runs_over(&self, transport: Transport) -> bool {
        transport == Transport::Stream
    }

    fn probe(&self, _: ProbeHint, data: &[u8]) -> Probe {
        let Some((&first, rest)) = data.split_first() else {
            return Probe::Unsure;
        };
        if first & 0x80 != 0 {
            // SSLv2's two-byte header, CLIENT-HELLO, version, length of the cipher specifications.
            return match *rest {
                [_, kind, ..] if kind != 1 => Probe::NotForUs,
                [_, _, high, low, ciphers_high, ciphers_low, ..] => {
                    let ciphers = u16::from_be_bytes([ciphers_high, ciphers_low]);
                    let version = is_ssl2_version(u16::from_be_bytes([high, low]));
                    if version && ciphers > 0 && ciphers % 3 == 0 {
                        Probe::Certain
                    } else {
                        Probe::NotForUs
                    }
                }
                _ => Probe::Unsure,
            };
        }
        if !matches!(first, record::ALERT | record::HANDSHAKE) {
            return Probe::NotForUs;
        }
        match *rest {
            [3, 0..=4, high, low, ref body @ ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                match (first, body.first()) {
                    _ if length == 0 || length > MAX_RECORD => Probe::NotForUs,
                    (record::ALERT, _) if length == 2 => Probe::Certain,
                    (record::HANDSHAKE, Some(0..=2)) => Probe::Certain,
                    (record::HANDSHAKE, None) => Probe::Unsure,
                    _ => Probe::NotForUs,
                }
            }
            [] | [3] | [3, 0..=4] | [3, 0..=4, _] => Probe::Unsure,
            _ => Probe::NotForUs,
        }
    }

    fn parser(&self, _: Transport) -> Box<dyn Parser> {
        Box::new(TlsParser::default())
    }
}

/// One connection, until its handshake is over.
#[derive(Debug, Default)]
struct TlsParser {
    handshake: Handshake,
    client: Option<Side>,
    /// By [`Side`]: the start of a message that did not end with its record.
    partial: [Vec<u8>; 2],
    /// By [`Side`]: a record was read.
    started: [bool; 2],
    /// By [`Side`]: what follows ChangeCipherSpec is encrypted.
    encrypted: [bool; 2],
    emitted: bool,
}

impl TlsParser {
    fn emit(&mut self, ctx: &mut Context<'_>) {
        if self.emitted || (self.handshake.client.is_none() && self.handshake.server.is_none()) {
            return;
        }
        self.emitted = true;
        let (tls, extra) = self.handshake.event();
        let client = self.client.unwrap_or(Side::Originator);
        ctx.event_with(client, Some(0), Body::Tls { tls }, extra);
    }

    fn fail(&mut self, side: Side, event: &'static str, ctx: &mut Context<'_>) -> Progress {
        ctx.anomaly(side, Some(0), event);
        self.emit(ctx);
        Progress::Failed
    }

    /// A record's handshake bytes: whole messages, and perhaps the start of one more.
    fn on_handshake(
        &mut self,
        side: Side,
        payload: &[u8],
        ctx: &mut Context<'_>,
    ) -> Result<(), &'static str> {
        let mut joined = std::mem::take(&mut self.partial[side as usize]);
        let mut data = if joined.is_empty() {
            payload
        } else {
            joined.extend_from_slice(payload);
            &joined
        };
        while let Some(&[kind, high, middle, low]) = data.first_chunk::<MESSAGE_HEADER>() {
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if length > MAX_MESSAGE {
                return Err("INVALID_HANDSHAKE_MESSAGE");
            }
            let Some(body) = data.get(MESSAGE_HEADER..MESSAGE_HEADER + length) else {
                break;
            };
            self.on_message(side, kind, body, ctx)?;
            data = data.get(MESSAGE_HEADER + length..).unwrap_or_default();
        }
        self.partial[side as usize] = data.to_vec();
        Ok(())
    }

    fn on_message(
        &mut self,
        side: Side,
        kind: u8,
        body: &[u8],
        ctx: &mut Context<'_>,
    ) -> Result<(), &'static str> {
        match kind {
            // After a HelloRetryRequest there is a second one; the first has what was wanted.
            message::CLIENT_HELLO if self.handshake.client.is_none() => {
                let hello = client_hello(body).ok_or("INVALID_HANDSHAKE_MESSAGE")?;
                self.client = Some(side);
                if hello.invalid_name {
                    ctx.anomaly(side, Some(0), "INVALID_SNI_LENGTH");
                }
                if let Some(name) = &hello.server_name {
                    ctx.buffer(side, SNI, name);
                }
                self.handshake.client = Some(hello);
            }
            message::SERVER_HELLO => {
                let mut hello = server_hello(body).ok_or("INVALID_HANDSHAKE_MESSAGE")?;
                self.client.get_or_insert_with(|| side.peer());
                if hello.retry {
                    self.handshake.retry_version = Some(hello.version);
                    return Ok(());
                }
                // Drafts of TLS 1.3 named the version in the retry alone.
                hello.version = self.handshake.retry_version.unwrap_or(hello.version);
                let thirteen = matches!(hello.version, 0x0304 | 0x7f00..=0x7fff);
                self.handshake.server = Some(hello);
                if thirteen {
                    self.emit(ctx);
                }
            }
            message::CERTIFICATE
                if self.client != Some(side) && self.handshake.certificate.is_none() =>
            {
                let der = certificate(body).ok_or("INVALID_CERTIFICATE")?;
                match transaction::certificate(der) {
                    Some(fields) => {
                        if let (Some(subject), Some(issuer)) = (&fields.subject, &fields.issuerdn) {
                            ctx.buffer(side, SUBJECT, &subject.0);
                            ctx.buffer(side, ISSUER, &issuer.0);
                        }
                        self.handshake.certificate = Some(fields);
                    }
                    None if der.is_empty() => {}
                    None => ctx.anomaly(side, Some(0), "INVALID_CERTIFICATE"),
                }
            }
            message::SERVER_HELLO_DONE => self.emit(ctx),
            _ => {}
        }
        Ok(())
    }

    fn on_change_cipher(&mut self, side: Side, ctx: &mut Context<'_>) {
        self.encrypted[side as usize] = true;
        let (Some(client), Some(server)) = (&self.handshake.client, &self.handshake.server) else {
            return;
        };
        if self.client != Some(side) && self.handshake.certificate.is_none() {
            // The server goes straight to encryption: by session identifier (RFC 5246 section
            // 7.3) or by ticket (RFC 5077 section 3.1).
            self.handshake.resumed = !server.session.is_empty() && server.session == client.session
                || client.extensions.contains(&35);
            self.emit(ctx);
        }
    }
}

impl Parser for TlsParser {
    fn on_data(&mut self, side: Side, data: &Bytes, ctx: &mut Context<'_>) -> Progress {
        let mut consumed = 0;
        while !self.emitted {
            let rest = data.get(consumed..).unwrap_or_default();
            let Some(&[kind, major, _, high, low]) = rest.first_chunk::<RECORD_HEADER>() else {
                return Progress::Need {
                    consumed,
                    bytes: RECORD_HEADER,
                };
            };
            let first = !std::mem::replace(&mut self.started[side as usize], true);
            if kind & 0x80 != 0 && first {
                let length = 2 + usize::from(u16::from_be_bytes([kind & 0x7f, major]));
                if rest.len() < length {
                    self.started[side as usize] = false;
                    return Progress::Need {
                        consumed,
                        bytes: length,
                    };
                }
                let Some((hello, length)) = ssl2_hello(rest) else {
                    return self.fail(side, "INVALID_SSLV2_HEADER", ctx);
                };
                self.client = Some(side);
                self.handshake.ssl2 = true;
                self.handshake.client = Some(hello);
                consumed += length;
                continue;
            }
            if !(record::CHANGE_CIPHER_SPEC..=record::HEARTBEAT).contains(&kind) {
                return self.fail(side, "INVALID_RECORD_TYPE", ctx);
            }
            if major != 3 {
                return self.fail(side, "INVALID_RECORD_VERSION", ctx);
            }
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length > MAX_RECORD {
                return self.fail(side, "INVALID_RECORD_LENGTH", ctx);
            }
            let Some(payload) = rest.get(RECORD_HEADER..RECORD_HEADER + length) else {
                return Progress::Need {
                    consumed,
                    bytes: RECORD_HEADER + length,
                };
            };
            consumed += RECORD_HEADER + length;
            match kind {
                record::CHANGE_CIPHER_SPEC => self.on_change_cipher(side, ctx),
                record::HANDSHAKE if !self.encrypted[side as usize] => {
                    if let Err(event) = self.on_handshake(side, payload, ctx) {
                        return self.fail(side, event, ctx);
                    }
                }
                // Nothing in clear comes behind it.
                record::APPLICATION_DATA if self.handshake.server.is_some() => self.emit(ctx),
                _ => {}
            }
        }
        Progress::Done
    }

    fn on_gap(&mut self, _: Side, _: u64, _: super::Gap, ctx: &mut Context<'_>) -> Progress {
        self.emit(ctx);
        Progress::Done
    }

    fn on_end(&mut self, side: Side, _: &Bytes, ctx: &mut Context<'_>) {
        // The server may still answer a client that has closed its side.
        if self.client != Some(side) {
            self.emit(ctx);
        }
        self.partial[side as usize] = Vec::new();
        self.started[side as usize] = true;
        self.encrypted[side as usize] = true;
    }

    fn transactions(&self) -> u64 {
        u64::from(self.handshake.client.is_some() || self.handshake.server.is_some())
    }
}

#[cfg(test)]
mod tests;
