//! `cargo xtask test`: every test in one command.

use anyhow::Result;

use crate::command::{cargo, check};

/// Runs every test, or those whose name contains one of `filters`.
pub(crate) fn run(filters: &[String]) -> Result<()> {
    let mut command = cargo(["test", "--workspace", "--locked"]);
    check(command.args(["--"]).args(filters))
}
