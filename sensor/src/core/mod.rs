//! The sans-IO engine: bytes and time in, events out.
//!
//! Nothing below this module imports aya, tokio, files, sockets or a clock; a test holds it to
//! that. The same engine serves live sensors, capture files and tests.
#![deny(unsafe_code)]

mod decode;
mod defrag;
pub mod detect;
pub mod engine;
pub mod event;
mod evidence;
pub mod flow;
pub mod frame;
pub mod kernel;
pub mod limits;
pub mod order;
pub mod proto;
mod session;
pub mod stats;
pub mod time;

#[cfg(test)]
mod imports;
