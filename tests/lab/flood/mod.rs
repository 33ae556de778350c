//! Legitimate clients while a SYN flood runs: who gets through, how fast, and what it costs.

mod clients;
mod connection;
mod cpu;
mod defence;
mod guarded;
mod protocol;
mod servers;

pub use clients::{Clients, Crowd, Outcome, PATIENCE, tcp_option};
pub use connection::Connection;
pub use cpu::{Cpu, bind_queue};
pub use defence::{Armed, Defence, FILTER_RATE, Filter};
pub use guarded::{GuardReport, GuardSpec, Guarded, key};
pub use protocol::Service;
pub use servers::{ListenOptions, Listener};
