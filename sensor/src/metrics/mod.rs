//! Prometheus metrics: one table of what there is, read from one consistent [`Snapshot`].
//!
//! The table (in [`kernel`], [`guard`], [`engine`] and [`process`]) says name, kind, help, labels and how to
//! read the value; scrape, generated reference and tests all walk it. No label ever holds an
//! address, a port pair, a name from the wire or a URL: label values are device names of the
//! configuration or come from a fixed list.

mod collector;
mod dissected;
mod engine;
mod guard;
mod health;
mod kernel;
mod listener;
mod metric;
mod process;
mod reference;
mod server;
mod snapshot;
mod table;

pub use collector::{Batches, Exporter};
pub use dissected::Dissected;
pub use health::Health;
pub use metric::{Kind, Label, Metric, Values};
pub use reference::reference;
pub use server::{ListenError, Refresh, Server};
pub use snapshot::{Device, Flowed, Guard, ListCounts, Output, Reload, Snapshot};
pub use table::table;
