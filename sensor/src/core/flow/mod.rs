//! Flows: who talks to whom, both directions together.

pub mod community_id;
pub(crate) mod icmp;
