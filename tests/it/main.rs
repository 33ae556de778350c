//! Every test that crosses a module boundary, in one binary.

mod e2e;
