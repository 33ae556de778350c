//! The BPF programs. On the host this target is empty, so that the workspace builds everywhere.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}
