//! `cargo xtask bench scale`: how time and memory grow with the number of addresses, and what compressed
//! input costs.

mod addresses;
mod compressed;

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use lab::packages::Install;
use lab::workspace::build_conn_cli;

use super::inputs;

/// Measure how conn-cli's time and memory grow
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out what takes more than some seconds
    #[arg(long)]
    short: bool,
    /// The conn-cli to measure, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
}

/// The setup of the measurements.
struct Bench {
    conn_cli: PathBuf,
    /// For inputs and outputs.
    directory: PathBuf,
    is_short: bool,
}

pub(crate) fn run(args: &Args, install: Install) -> Result<()> {
    compressed::require(install)?;
    let bench = Bench {
        conn_cli: match &args.conn_cli {
            Some(path) => fs::canonicalize(path)?,
            None => build_conn_cli()?,
        },
        directory: inputs::directory()?,
        is_short: args.short,
    };
    println!("{}", bench.addresses()?);
    println!("{}", bench.compressed()?);
    Ok(())
}
