//! One TLS handshake.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    flow::is_false,
    text::{Hex, Text},
    time::CertTime,
};

/// What both sides said before encryption began. Certificates are visible up to TLS 1.2.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Tls {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuerdn: Option<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjectaltname: Vec<Text>,
    #[serde(skip_serializing_if = "is_false")]
    pub session_resumed: bool,
    /// The certificate's serial number, upper-case hexadecimal with `:` between bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<Text>,
    /// SHA-1 of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<Text>,
    /// `TLS 1.3`, `TLS 1.2`, ...: what the server chose. Without a ServerHello the version that the
    /// client asks for, from supported_versions where it sent that, and `UNDETERMINED` without
    /// either hello; as Suricata since 8.0.3.
    pub version: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notbefore: Option<CertTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notafter: Option<CertTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja3: Option<Ja3>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja4: Option<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_alpns: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub server_alpns: Vec<Text>,
    /// Protocol that the connection spoke before TLS (CONNECT, STARTTLS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_proto: Option<&'static str>,
}

/// A fingerprint of the ClientHello.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Ja3 {
    pub hash: Text,
    pub string: Text,
}
