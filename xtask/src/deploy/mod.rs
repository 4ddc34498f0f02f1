//! `cargo xtask deploy`: tries what is in `deploy` with the programs that it is for.

mod clickhouse;
mod kubernetes;
mod python;
mod unit;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use lab::packages::Install;
use lab::workspace;

/// Try what is in deploy/ with the programs that it is for
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these parts; `--skip` leaves out some
    #[arg(value_name = "PART")]
    parts: Vec<Part>,
    /// Leave out this part, such as one whose program cannot be had
    #[arg(long, value_name = "PART")]
    skip: Vec<Part>,
    /// The conn-cli to run [default: build it]
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
}

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The table and the queries, with an embedded ClickHouse
    Clickhouse,
    /// The systemd unit, with systemd-analyze
    Unit,
    /// The DaemonSet, with the schema of Kubernetes
    Kubernetes,
}

pub(crate) fn run(args: &Args, install: Install) -> Result<()> {
    let all = Part::value_variants().iter();
    let wanted = |part: &&Part| args.parts.is_empty() || args.parts.contains(part);
    let conn_cli = workspace::conn_cli(args.conn_cli.as_deref())?;
    let mut failed = Vec::new();
    for part in all.filter(wanted) {
        if args.skip.contains(part) {
            println!("{part:?}: left out");
            continue;
        }
        let result = match part {
            Part::Clickhouse => clickhouse::check(&conn_cli, install),
            Part::Unit => unit::check(&conn_cli, install),
            Part::Kubernetes => kubernetes::check(install),
        };
        match result {
            Ok(shown) => println!("{part:?}: {shown}"),
            Err(error) => {
                println!("{part:?}: FAILED: {error:#}");
                failed.push(format!("{part:?}"));
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "))
}
