//! The `sensor` command.

fn main() {}
