//! The SYN-flood guard's decisions, without its maps: the hash, the aging filter, token buckets and
//! budgets, the answer to a SYN. All of it is plain arithmetic that runs in the kernel and is
//! tested on the host.

pub mod bucket;
pub mod budget;
pub mod filter;
pub mod hash;
pub mod synack;

#[cfg(test)]
mod tests;
