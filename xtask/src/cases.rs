//! Test cases: real servers, clients and conn-cli on one machine, in a guest or natively.

mod accept;
pub(crate) mod as_user;
mod bpf;
mod cgroup;
mod client;
pub(crate) mod diagnostics;
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
mod kernel;
mod leftovers;
mod limits;
mod list;
pub(crate) mod map_reader;
mod memory;
pub(crate) mod netns;
mod newcomers;
mod no_btf;
mod nobody;
mod outcome;
mod peers;
mod plan;
mod ports;
mod preemption;
mod privileges;
pub(crate) mod process;
mod report;
mod resets;
mod rfc3339;
pub(crate) mod server;
mod setting;
mod several;
mod signals;
mod stages;
mod steered;
mod streams;
mod syn_flood;
mod syns;
mod tasks;
mod text;
pub(crate) mod tracer;
mod trouble;
mod waits;
mod wire;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

pub(crate) use outcome::{Id, Outcome, Results};
pub(crate) use plan::{Depth, Machine, check_names, planned};

/// Runs the cases of a list and prints each outcome
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File with one line `HOOK CASE` per case
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
    let ids = parse_list(&list)?;
    let mut results = Results::new(ids.clone());
    for id in &ids {
        let outcome = run_one(id, &args.conn_cli, args.port);
        println!("{}", outcome.line());
        results.record(outcome);
    }
    if !results.all_passed() {
        bail!("{results}");
    }
    Ok(())
}

/// Runs one case and returns its outcome.
pub(crate) fn run_one(id: &Id, conn_cli: &Path, port: u16) -> Outcome {
    let start = Instant::now();
    let run = || plan::run(id, conn_cli.to_owned(), port);
    let result = match run() {
        Err(error) if may_have_skipped_runs(id, &error) => {
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
        id: id.clone(),
        passed,
        details: format!("{details} ({seconds:.1} s)"),
    }
}

/// Whether connections may be missing because the kernel does not always run the tracepoint
/// (README, Limitations). This is too rare to happen twice in a row, and the outcome reports it.
fn may_have_skipped_runs(id: &Id, error: &anyhow::Error) -> bool {
    id.hook == plan::Hook::Tracepoint.to_string() && error.is::<report::MissingConnections>()
}

/// Formats the list for [`parse_list`].
pub(crate) fn format_list(ids: &[Id]) -> String {
    ids.iter().map(|id| format!("{id}\n")).collect()
}

fn parse_list(text: &str) -> Result<Vec<Id>> {
    text.lines()
        .map(|line| {
            let (hook, case) = line
                .split_once(' ')
                .with_context(|| format!("not a hook and a case: {line:?}"))?;
            Ok(Id {
                case: case.to_owned(),
                hook: hook.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_round_trips() {
        let ids = planned(Machine::LockedDown, &[], Depth::Usual);
        assert_eq!(parse_list(&format_list(&ids)).unwrap(), ids);
        assert!(parse_list("kretprobe\n").is_err());
    }
}
