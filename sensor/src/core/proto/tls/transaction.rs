//! A handshake as an event.

use bytes::Bytes;
use sha1::{Digest, Sha1};
use tls_parser::TlsCipherSuite;
use x509_parser::{extensions::GeneralName, prelude::FromDer, prelude::X509Certificate};

use super::{
    fingerprint::{ja3, ja4, offered_version},
    parser::{ClientHello, ServerHello},
};
use crate::core::event::{CertTime, Extra, Hex, Text, Tls};

/// What both sides have said so far.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    pub(super) client: Option<ClientHello>,
    pub(super) server: Option<ServerHello>,
    /// The version that a HelloRetryRequest settled.
    pub(super) retry_version: Option<u16>,
    /// The client's hello was SSLv2's.
    pub(super) ssl2: bool,
    /// Fields of the server's certificate.
    pub(super) certificate: Option<Tls>,
    pub(super) resumed: bool,
}

/// Reads the server's certificate; `None` if it is none.
pub(super) fn certificate(der: &[u8]) -> Option<Tls> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let serial = certificate
        .raw_serial()
        .iter()
        .map(|byte| format!("{byte:02X}"));
    let validity = certificate.validity();
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives
        .iter()
        .flat_map(|extension| &extension.value.general_names);
    Some(Tls {
        subject: Some(certificate.subject().to_string().into()),
        issuerdn: Some(certificate.issuer().to_string().into()),
        subjectaltname: names.filter_map(alternative).collect(),
        serial: Some(serial.collect::<Vec<_>>().join(":").into()),
        fingerprint: Some(Hex(Bytes::copy_from_slice(&Sha1::digest(der)))),
        notbefore: Some(CertTime(validity.not_before.timestamp())),
        notafter: Some(CertTime(validity.not_after.timestamp())),
        ..Tls::default()
    })
}

fn alternative(name: &GeneralName<'_>) -> Option<Text> {
    Some(match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            (*name).to_owned().into()
        }
        GeneralName::IPAddress(octets) => {
            if let Ok(octets) = <[u8; 4]>::try_from(*octets) {
                std::net::Ipv4Addr::from(octets).to_string().into()
            } else {
                let octets = <[u8; 16]>::try_from(*octets).ok()?;
                std::net::Ipv6Addr::from(octets).to_string().into()
            }
        }
        _ => return None,
    })
}

fn version(number: u16) -> Text {
    match number {
        0x0002 => "SSLv2".into(),
        0x0300 => "SSLv3".into(),
        0x0301 => "TLSv1".into(),
        0x0302 => "TLS 1.1".into(),
        0x0303 => "TLS 1.2".into(),
        0x0304 => "TLS 1.3".into(),
        0x7f00..=0x7fff => format!("TLS 1.3 draft-{:02}", number & 0xff).into(),
        _ => format!("0x{number:04x}").into(),
    }
}

fn texts(values: &[Vec<u8>]) -> Vec<Text> {
    values
        .iter()
        .map(|value| Text(Bytes::copy_from_slice(value)))
        .collect()
}

impl Handshake {
    /// The event's body, and what EVE has no field for.
    pub(super) fn event(&mut self) -> (Box<Tls>, Option<Box<Extra>>) {
        let mut tls = self.certificate.take().unwrap_or_default();
        tls.session_resumed = self.resumed;
        tls.version = "UNDETERMINED".into();
        let mut extra = None;
        if let Some(server) = &self.server {
            tls.version = version(server.version);
            tls.server_alpns = texts(&server.alpns);
            let cipher = TlsCipherSuite::from_id(server.cipher).map_or_else(
                || format!("0x{:04x}", server.cipher).into(),
                |suite| suite.name.into(),
            );
            extra = Some(Box::new(Extra {
                cipher: Some(cipher),
                ..Extra::default()
            }));
        }
        if let Some(client) = &self.client {
            if self.server.is_none() {
                tls.version = version(offered_version(client));
            }
            tls.sni = client.server_name.clone().map(Text::from);
            tls.client_alpns = texts(&client.alpns);
            if !self.ssl2 {
                tls.ja3 = Some(ja3(client));
                tls.ja4 = Some(ja4(client, 't').into());
            }
        }
        (Box::new(tls), extra)
    }
}
