//! The allow and block lists in the kernel.
//!
//! A change is made in place, as the difference between what is in force and what is to be: first
//! the index learns of what is new, then elements are added and replaced, then those that are
//! gone deleted, then the index forgets them, and at last the generation moves, upon which every
//! flow is judged anew. An address goes from its old verdict to its new one in one step: its
//! longest match is the old element until a new one is added, or until it is deleted itself;
//! and in between no element of either state is missing. So a feed of 100,000 prefixes
//! is replaced without a second copy, without a map made at run time, and without a gap.

mod difference;
mod maps;
mod records;

pub(super) use maps::{ListMaps, Tables};
