//! The control socket: `sensor status`, `flows`, `stats`, `block`, `allow` and `pass` of a running
//! sensor.
//!
//! A Unix socket that speaks JSON Lines: one [`Request`] a line, one answer a line, `{"ok": ...}`
//! or `{"error": "..."}`. Requests are bounded in size and time. Who connects must be root, or
//! share the daemon's user or group; the kernel tells who it is. What changes something is taken from
//! root and the daemon's user alone.

mod answer;
mod client;
mod guard;
mod listener;
mod lists;
mod lock;

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use answer::{Question, View, answer};
pub use client::{ClientError, ask};
pub(super) use listener::Listener;
pub use lists::{ListAction, ListRequest};

/// A request is no longer than this, bytes.
const MAX_REQUEST: u64 = 16 * 1024;
/// Flows in one answer.
const MAX_FLOWS: usize = 10_000;

/// A question to a running sensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Interfaces, modes, health.
    Status {},
    /// All counters.
    Stats {},
    /// Live flows.
    Flows(FlowQuery),
    /// The allow or the block list.
    Lists(ListRequest),
    /// The kill switch.
    Pass {
        /// Turn it on or off; missing: only ask.
        #[serde(default)]
        on: Option<bool>,
    },
}

impl Request {
    /// Whether it asks for more than an answer.
    const fn is_change(&self) -> bool {
        match self {
            Self::Status {} | Self::Stats {} | Self::Flows(_) => false,
            Self::Lists(request) => request.is_change(),
            Self::Pass { on } => on.is_some(),
        }
    }
}

/// What the live loop answers: a result, or why there is none.
pub(super) type Answer = Result<Value, String>;

/// Which flows, in which order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowQuery {
    pub sort: FlowSort,
    pub limit: usize,
    /// Either end has this address.
    pub address: Option<std::net::IpAddr>,
    /// Either end has this port.
    pub port: Option<u16>,
    /// `tcp`, `udp`, ... or a number, as EVE writes it.
    pub proto: Option<String>,
    /// As EVE's `app_proto`.
    pub app_proto: Option<String>,
}

impl Default for FlowQuery {
    fn default() -> Self {
        Self {
            sort: FlowSort::default(),
            limit: 20,
            address: None,
            port: None,
            proto: None,
            app_proto: None,
        }
    }
}

/// Largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FlowSort {
    #[default]
    Bytes,
    Packets,
    Age,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "another sensor is running on {}: stop it, or give this one its own `control.socket`",
        path.display()
    )]
    Running { path: PathBuf },
    #[error(
        "cannot create the control socket {}: {source}; set `control.socket` to a path in a \
         directory that this user owns",
        path.display()
    )]
    Create { path: PathBuf, source: io::Error },
}
