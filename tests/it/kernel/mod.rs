//! The BPF programs, run by `BPF_PROG_TEST_RUN`: verdicts, counters, and the very flow keys that
//! user space makes of the same bytes.

mod counting;
mod differential;
mod egress;
mod flow_state;
mod frames;
mod guard;
mod ingress;
mod instructions;
mod offload;
mod overflow;
mod programs;
mod sampling;
mod verdicts;
