//! `cargo xtask ebpf`: the committed BPF objects.

use anyhow::{Result, bail};

/// Rebuilds the objects, or with `check` compares them with what the sources give.
pub(crate) fn run(_check: bool) -> Result<()> {
    bail!("there is no BPF object to build yet")
}
