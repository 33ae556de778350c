//! Pinning: the data plane goes on without a process, and the next one takes it over.
//!
//! Maps and links have names on a BPF file system ([`directory`]), beside a map `META` that says
//! how far the last daemon came ([`meta`]). A daemon that starts loads its programs against the
//! maps it finds, if their layouts are its own ([`layout`]), and puts them into the place of those
//! that run; else it makes new maps beside the old ones, and reads the old ones once nothing
//! counts into them any more.

mod directory;
mod error;
mod layout;
mod meta;
mod outside;
mod pins;
mod previous;
mod state;

pub(super) use directory::{Directory, LinkKind};
pub use error::PinError;
pub(super) use layout::layout;
pub(super) use meta::{Device, Head, Index, Meta};
pub use outside::Pinned;
pub(super) use pins::{Before, Old, Pins};
pub(super) use previous::Previous;
pub(super) use state::{Found, State};
