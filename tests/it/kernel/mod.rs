//! The BPF programs, run by `BPF_PROG_TEST_RUN`: verdicts, counters, and the very flow keys that
//! user space makes of the same bytes.

mod programs;
mod verdicts;
