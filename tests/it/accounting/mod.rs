//! The law of accounting, held against an independent count: the number of packets that
//! `BPF_PROG_TEST_RUN` was asked to run the program for. All of it needs root.

mod bed;
pub(crate) mod load;
mod overflow;
mod swaps;
mod violations;

use bed::{Bed, Tally};
