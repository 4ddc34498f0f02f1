//! Test cases: real servers, clients and conn-cli on one machine, in a guest or natively.

mod context;
mod dropped;
mod exact;
mod filters;
mod flood;
mod forged;
mod funnel;
mod grouping;
mod hidden;
mod hostile;
mod identity;
mod intervals;
mod leftovers;
mod limits;
mod list;
pub(crate) mod map_reader;
mod memory;
mod newcomers;
mod no_btf;
mod nobody;
mod peers;
mod plan;
mod ports;
mod preemption;
mod privileges;
mod resets;
mod signals;
mod steered;
mod streams;
mod syn_flood;
mod syns;
mod tasks;
mod text;
mod trouble;
mod waits;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use lab::outcome::{Outcome, Results};
use lab::report;

pub(crate) use plan::{Depth, check_names, planned};

/// The list of cases to run in a guest's file system.
pub(crate) const LIST: &str = "/cases";

/// The programs that cases run beside conn-cli.
pub(crate) const PROGRAMS: [&str; 4] = ["ip", "nstat", "ss", "tcpdump"];

/// Runs the cases of a list and prints each outcome
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File with one line `CASE/HOOK` per case
    #[arg(long)]
    list: PathBuf,
    #[arg(long)]
    conn_cli: PathBuf,
    #[arg(long, default_value_t = 80)]
    port: u16,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let list = std::fs::read_to_string(&args.list)
        .with_context(|| format!("cannot read {}", args.list.display()))?;
    let names: Vec<_> = list.lines().map(str::to_owned).collect();
    let mut results = Results::new(names.clone());
    for name in &names {
        let outcome = run_one(name, &args.conn_cli, args.port);
        println!("{}", outcome.line());
        results.record(outcome);
    }
    if !results.all_passed() {
        bail!("{results}");
    }
    Ok(())
}

/// Runs one case and returns its outcome.
pub(crate) fn run_one(name: &str, conn_cli: &Path, port: u16) -> Outcome {
    let start = Instant::now();
    let run = || plan::run(name, conn_cli.to_owned(), port);
    let result = match run() {
        Err(error) if may_have_skipped_runs(name, &error) => {
            run().map(|details| format!("{details}, after {error:#}"))
        }
        result => result,
    };
    let seconds = start.elapsed().as_secs_f64();
    let (passed, details) = match result {
        Ok(details) => (true, details),
        Err(error) => (false, format!("{error:#}")),
    };
    Outcome {
        name: name.to_owned(),
        passed,
        details: format!("{details} ({seconds:.1} s)"),
    }
}

/// Whether connections may be missing because the kernel does not always run the tracepoint
/// (README, Limitations). This is too rare to happen twice in a row, and the outcome reports it.
fn may_have_skipped_runs(name: &str, error: &anyhow::Error) -> bool {
    name.ends_with("/tracepoint") && error.is::<report::MissingConnections>()
}
