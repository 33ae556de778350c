//! Building with cargo, always as the invoking user.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{cargo, check, target_dir};

/// Builds the product and returns the path of its binary.
pub(crate) fn sensor() -> Result<PathBuf> {
    check(&mut cargo([
        "build",
        "--release",
        "--package",
        "sensor",
        "--locked",
    ]))?;
    Ok(target_dir().join("release/sensor"))
}

/// Builds the lab's command (a binary of the tests' package) and returns its path.
pub(crate) fn lab() -> Result<PathBuf> {
    of_tests("sensor-lab")
}

/// Builds a binary of the tests' package and returns its path.
pub(crate) fn of_tests(binary: &str) -> Result<PathBuf> {
    check(&mut cargo([
        "build",
        "--release",
        "--package",
        "sensor-tests",
        "--bin",
        binary,
        "--locked",
    ]))?;
    Ok(target_dir().join("release").join(binary))
}
