//! What a contributor to conn-cli runs: `cargo xtask COMMAND`.
fn main() {}
