//! The lab: network namespaces, real clients and servers, and a paced packet generator.
//!
//! ```text
//!  client 10.77.0.1 ────┐                     ┌──────────────────────┐
//!                       ├── wire: XDP ────────┤ server 10.77.0.2, s0 │ ← the sensor
//!  attacker 10.77.0.3 ──┘   redirects all     └──────────────────────┘
//! ```
//!
//! Attack and legitimate packets share the one receive queue of `s0`, as on a NIC. The
//! namespaces have no names: open descriptors are all that keeps them, so that nothing is left
//! behind however the lab's process ends, also by `kill -9`.

mod device;
mod feed;
pub mod flood;
mod generator;
mod namespace;
mod object;
mod pins;
mod privilege;
mod scratch;
mod sensor;
mod topology;
pub mod traffic;
mod wait;

pub use device::Counters;
pub use feed::Numbers;
pub use generator::{Generator, Sent, Sources, StreamSpec, tcp_flag};
pub use namespace::Namespace;
pub use object::{ForeignProgram, classifiers, object};
pub use pins::BpfFs;
pub use privilege::{kernel_is, root_or_skip, skip, tcx_or_skip};
pub use scratch::scratch;
pub use sensor::{Ended, Sensor, SensorOptions, sensor_binary, sum_samples};
pub use topology::{Host, Lab, LabOptions, Napi, VLANS};
pub use wait::{DEADLINE, until};
