//! Where frames come from: capture files, or the rings of a running data plane.

pub mod capture;
#[cfg(feature = "live")]
pub mod live;
