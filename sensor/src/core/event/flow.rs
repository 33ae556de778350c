//! A flow's end: its exact counts and how it ended.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::{text::DIGITS, time::EveTime};

/// Both directions' counts; bytes are frame bytes without FCS.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Flow {
    pub pkts_toserver: u64,
    pub pkts_toclient: u64,
    pub bytes_toserver: u64,
    pub bytes_toclient: u64,
    pub start: EveTime,
    pub end: EveTime,
    /// Whole seconds from `start` to `end`, as the difference of the two second counts.
    pub age: u64,
    /// Ended early because the flow table was full.
    #[serde(skip_serializing_if = "is_false")]
    pub emergency: bool,
    pub state: FlowState,
    pub reason: FlowReason,
    pub alerted: bool,
    /// Transactions of the flow's application protocol, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_cnt: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FlowState {
    New,
    Established,
    Closed,
    Bypassed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlowReason {
    /// No packet for the state's time-out.
    Timeout,
    /// Ended by a full table.
    Forced,
    /// The input ended.
    Shutdown,
    /// Its five-tuple was used for a new connection.
    TcpReuse,
}

/// What TCP's headers showed over the flow's life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Tcp {
    /// OR over both directions.
    pub tcp_flags: TcpFlags,
    pub tcp_flags_ts: TcpFlags,
    pub tcp_flags_tc: TcpFlags,
    #[serde(skip_serializing_if = "is_false")]
    pub syn: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub fin: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub rst: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub psh: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub ack: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub urg: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub ecn: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub cwr: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<TcpState>,
    /// Data towards the server was lost.
    #[serde(skip_serializing_if = "is_false")]
    pub ts_gap: bool,
    /// Data towards the client was lost.
    #[serde(skip_serializing_if = "is_false")]
    pub tc_gap: bool,
    /// Most separate pieces of data that waited for a hole towards the server to close.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts_max_regions: Option<u16>,
    /// The same towards the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tc_max_regions: Option<u16>,
}

impl Tcp {
    /// The object for flags seen in each direction, without stream state.
    #[must_use]
    pub fn from_flags(to_server: u8, to_client: u8) -> Self {
        let all = to_server | to_client;
        Self {
            tcp_flags: TcpFlags(all),
            tcp_flags_ts: TcpFlags(to_server),
            tcp_flags_tc: TcpFlags(to_client),
            fin: all & 0x01 != 0,
            syn: all & 0x02 != 0,
            rst: all & 0x04 != 0,
            psh: all & 0x08 != 0,
            ack: all & 0x10 != 0,
            urg: all & 0x20 != 0,
            ecn: all & 0x40 != 0,
            cwr: all & 0x80 != 0,
            ..Self::default()
        }
    }
}

/// RFC 9293 section 3.3.2, as an observer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TcpState {
    None,
    SynSent,
    SynRecv,
    Established,
    FinWait1,
    FinWait2,
    TimeWait,
    LastAck,
    CloseWait,
    Closing,
    Closed,
}

/// TCP flags, written as two hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl Serialize for TcpFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = [
            DIGITS[usize::from(self.0 >> 4)],
            DIGITS[usize::from(self.0 & 15)],
        ];
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl JsonSchema for TcpFlags {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TcpFlags".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{2}$" })
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
pub(super) const fn is_false(value: &bool) -> bool {
    !*value
}
