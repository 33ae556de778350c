//! A network sensor: an XDP program counts every flow exactly, one sans-IO engine dissects
//! sampled or captured packets. See `ARCHITECTURE.md` for the map.

pub mod bpf;
pub mod cli;
pub mod config;
pub mod core;
pub mod daemon;
pub mod metrics;
pub mod output;
pub mod source;
