//! Samples of a running data plane as frames: one clock, one order over all rings.
//!
//! Sans-IO but for [`Clock::follow`], which reads the system's clocks. The caller moves records
//! from the rings into [`Source::push`] and asks for the frames that are due:
//!
//! ```no_run
//! # use sensor::{bpf::{DataPlane, LoadOptions}, source::live::{Clock, Options, Source}};
//! # use std::time::Duration;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut plane = DataPlane::load(LoadOptions::default())?;
//! let mut clock = Clock::start();
//! let mut source = Source::new(Options::default());
//! loop {
//!     plane.wait(Duration::from_millis(20))?;
//!     clock.follow();
//!     let polled = plane.poll_samples(4096, |header, bytes| source.push(header, bytes));
//!     source.release(polled.frontier_ns, &clock, |live| drop(live.frame));
//! #   break Ok(());
//! }
//! # }
//! ```

mod clock;
mod pool;
mod source;

pub use clock::{Clock, Measurement, monotonic_ns};
pub use source::{LiveFrame, Options, Source, Stats};
