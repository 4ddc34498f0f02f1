//! `cargo xtask ebpf`: builds the eBPF objects that conn-cli embeds.

use anyhow::{Result, bail};

/// Build the eBPF objects that conn-cli embeds
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<()> {
    bail!("not written yet: {}", crate::workspace_root().display())
}
