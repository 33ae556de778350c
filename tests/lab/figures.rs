//! What a bench prints, and `cargo xtask bench` reads.

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// To the row's peer, where it has one.
    pub(crate) ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) conditions: Vec<String>,
    pub(crate) rows: Vec<Row>,
}
