//! Where frames come from: capture files, or the rings of a running data plane.

pub mod capture;
pub mod live;
