//! Attaching to devices of every sort, and what is left behind. All of it needs root.

mod follow;
mod killed;
mod modes;
mod passive;
mod refusals;

use anyhow::Result;
use sensor::bpf::{DataPlane, LoadOptions};
use sensor_tests::Namespace;

/// A namespace with the veth pair `bpf0`, `bpf1`, both up.
fn pair() -> Result<Namespace> {
    let namespace = Namespace::new()?;
    namespace.ip("link add bpf0 type veth peer name bpf1")?;
    namespace.ip("link set bpf0 up")?;
    namespace.ip("link set bpf1 up")?;
    Ok(namespace)
}

/// A small data plane.
fn plane() -> Result<DataPlane> {
    Ok(DataPlane::load(LoadOptions {
        flow_table_capacity: 1024,
        ring_bytes: 64 * 1024,
        ..LoadOptions::default()
    })?)
}

/// What a program writes in the namespace.
fn output(namespace: &Namespace, program: &str, words: &str) -> Result<String> {
    let output = namespace
        .command(program)
        .args(words.split_whitespace())
        .output()?;
    Ok(String::from_utf8(output.stdout)?)
}
