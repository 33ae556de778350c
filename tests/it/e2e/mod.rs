//! The whole sensor in the lab: real traffic in, events and metrics out. All of it needs root.

mod lab;
