//! A network sensor: an XDP program counts every flow exactly, one sans-IO engine dissects
//! sampled or captured packets. See `ARCHITECTURE.md` for the map.

#[cfg(feature = "live")]
pub mod bpf;
#[cfg(feature = "live")]
pub mod cli;
#[cfg(feature = "live")]
pub mod config;
pub mod core;
#[cfg(feature = "live")]
pub mod daemon;
#[cfg(feature = "live")]
pub mod guard;
#[cfg(feature = "live")]
pub mod lists;
#[cfg(feature = "live")]
pub mod metrics;
#[cfg(feature = "live")]
pub mod output;
pub mod source;
