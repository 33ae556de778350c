//! Every test that crosses a module boundary, in one binary.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "this binary has nothing but tests"
)]

mod accounting;
mod attach;
mod cases;
mod daemon;
mod defence;
mod e2e;
mod flood;
mod golden;
mod kernel;
mod lifecycle;
mod lists;
mod schema;
mod test_run;
