//! `cargo xtask native`: runs the cases that need only this machine's kernel.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use lab::machine::Machine;
use lab::outcome::{Outcome, Results};
use lab::packages::{self, Install};
use lab::process::each_line;
use lab::{command, workspace};

use crate::live::{Live, names, programs};

/// Run the cases that this machine's own kernel allows, with sudo if necessary
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The conn-cli to test, instead of the release build of this tree
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
    /// Show the diagnostics of `conn-cli -v`
    #[arg(long)]
    verbose: bool,
    /// Which cases to run, as `cargo test` takes them: `-- --exact ipv4/lsm`
    #[arg(last = true, value_name = "FILTER")]
    filter: Vec<String>,
}

impl Args {
    /// Runs every case with this conn-cli.
    pub(crate) fn every_case(conn_cli: PathBuf) -> Self {
        Self {
            conn_cli: Some(conn_cli),
            verbose: false,
            filter: Vec::new(),
        }
    }
}

pub(crate) fn run(args: &Args, install: Install) -> Result<()> {
    let machine = Machine::native();
    let live = Live::build(args.filter.clone())?;
    let planned = live.plan(machine)?;
    packages::require(&programs(&planned), install)?;
    let conn_cli = workspace::conn_cli(args.conn_cli.as_deref())?;
    let mut results = Results::new(names(&planned));
    // Only the cases need root, and root may have no cargo.
    let mut as_root = command::as_root(&live.program);
    as_root
        .args(live.arguments(machine, &conn_cli)?)
        .args(args.verbose.then_some("--verbose"))
        .stdout(Stdio::piped());
    let mut running = as_root.spawn().context("cannot start the cases")?;
    each_line(running.stdout.take().context("no pipe")?, |line| {
        if let Some(outcome) = Outcome::parse(line) {
            println!("native {outcome}");
            results.record(outcome);
        }
    });
    let status = running.wait()?;
    println!("native: {results}");
    if !results.all_passed() || !status.success() {
        let problems = results.problems().join("\n");
        bail!("not every case ran and passed on this machine:\n{problems}");
    }
    Ok(())
}
