//! `cargo xtask bench scale`: how time and memory grow with the number of clients, and what compressed input
//! costs. Runs on this machine; no time is ever a failure, but each total is checked.

mod addresses;
mod compressed;
mod end;
mod map;
mod row;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use lab::packages::Install;
use lab::workspace;

use super::inputs;

/// Measure how conn-cli's time and memory grow
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure, instead of all
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Leave out what takes more than some seconds
    #[arg(long)]
    short: bool,
    /// The conn-cli to measure, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The end of a live run, by number of clients; needs root
    End,
    /// A row of `--interval` with very many clients; needs root
    Row,
    /// `conn-cli read`, by number of addresses
    Addresses,
    /// `conn-cli read` of compressed input, beside the programs that decompress it
    Compressed,
}

/// The setup of the measurements.
struct Bench {
    conn_cli: PathBuf,
    /// For inputs and outputs.
    directory: PathBuf,
    is_short: bool,
}

pub(crate) fn run(args: &Args, install: Install) -> Result<()> {
    let wants = |part| args.parts.is_empty() || args.parts.contains(&part);
    if wants(Part::Compressed) {
        compressed::require(install)?;
    }
    let bench = Bench {
        conn_cli: workspace::conn_cli(args.conn_cli.as_deref())?,
        directory: inputs::directory()?,
        is_short: args.short,
    };
    if wants(Part::End) {
        println!("{}", bench.end()?);
    }
    if wants(Part::Row) {
        println!("{}", bench.row()?);
    }
    if wants(Part::Addresses) {
        println!("{}", bench.addresses()?);
    }
    if wants(Part::Compressed) {
        println!("{}", bench.compressed()?);
    }
    Ok(())
}

/// Compares the number of connections that conn-cli says in this file with the right one.
fn check_total(stderr: &Path, connections: u64) -> Result<()> {
    let said = fs::read_to_string(stderr)?;
    let total = said.lines().find_map(|line| {
        let (number, rest) = line.split_once(' ')?;
        { rest.starts_with("connection") }
            .then(|| number.parse::<u64>().ok())
            .flatten()
    });
    let total = total.with_context(|| format!("no total: {said}"))?;
    ensure!(
        total == connections,
        "conn-cli counted {total} connections of {connections}"
    );
    Ok(())
}
