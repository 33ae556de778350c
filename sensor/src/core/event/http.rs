//! One HTTP transaction: a request and its response.

use schemars::JsonSchema;
use serde::Serialize;

use super::text::Text;

/// RFC 9112. Absent fields were not on the wire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Http {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Text>,
    /// Port named in the URL or the Host header, not the TCP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_user_agent: Option<Text>,
    /// X-Forwarded-For.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xff: Option<Text>,
    /// The response's media type without parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_content_type: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_range: Option<ContentRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_refer: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_method: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// A status that is no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_string: Option<Text>,
    /// The Location header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Text>,
    /// Bytes of the response's body as transferred: not decompressed, and with the lines around
    /// chunks (RFC 9112 section 7.1) up to the last chunk's, as EVE's other writers count.
    pub length: u64,
}

/// RFC 9110 section 14.4; bytes.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ContentRange {
    pub raw: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}
