//! Every test that crosses a module boundary, in one binary.
