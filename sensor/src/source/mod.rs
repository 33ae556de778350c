//! Where frames come from: capture files here, rings beside it.

pub mod capture;
