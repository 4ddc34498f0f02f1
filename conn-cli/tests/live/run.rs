//! Runs the cases that are wanted, and reports how each ended.

use std::net::{Ipv6Addr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use lab::command;
use lab::hook::Hook;
use lab::machine::Machine;
use lab::outcome::Outcome;
use lab::report::MissingConnections;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::allowed;
use crate::checks::CHECKS;
use crate::context::Context;
use crate::plan::{self, Depth, Run, planned};

/// The options of cargo's own tests, and a few more.
#[derive(Parser)]
#[command(
    about = "Counts real connections with conn-cli, on this machine or in a guest",
    after_help = "Cases run one after the other: they share ports and settings of the kernel.\n\
        Without --machine, what this machine cannot run is ignored; with LIVE_CASES=ignore in the \
        environment, every case is."
)]
pub(crate) struct Args {
    #[command(flatten)]
    test: Arguments,
    /// The conn-cli to test, instead of the one that cargo built
    #[arg(long, value_name = "PATH")]
    conn_cli: Option<PathBuf>,
    /// The server's port, instead of a free one for each case
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Show the diagnostics of `conn-cli -v`, and what each case found
    #[arg(long)]
    verbose: bool,
    /// Run what is planned on this machine, ignore nothing, and print an outcome line for each case
    #[arg(long, value_name = "NAME")]
    machine: Option<Machine>,
    /// With --machine: also run cases that are too heavy to run for each change
    #[arg(long)]
    all: bool,
    /// With --machine: print the name of each case and the programs that it needs, and run nothing
    #[arg(long, requires = "machine")]
    plan: bool,
}

/// What each run is told, and how it reports.
#[derive(Clone)]
struct Settings {
    conn_cli: PathBuf,
    port: Option<u16>,
    verbose: bool,
    prints_outcomes: bool,
}

/// Runs what the arguments ask for.
pub(crate) fn main(mut args: Args) -> Result<ExitCode> {
    // The cases would disturb each other.
    args.test.test_threads = Some(1);
    let conn_cli = args.conn_cli.clone();
    let settings = Settings {
        conn_cli: conn_cli.unwrap_or_else(|| env!("CARGO_BIN_EXE_conn-cli").into()),
        port: args.port,
        verbose: args.verbose,
        prints_outcomes: args.machine.is_some(),
    };
    let trials = match args.machine {
        Some(machine) => {
            let depth = if args.all { Depth::All } else { Depth::Usual };
            let runs = planned(machine, depth);
            if args.plan {
                print_plan(runs, &args.test);
                return Ok(ExitCode::SUCCESS);
            }
            if !args.test.list {
                // The outcome lines say all.
                args.test.logfile = Some("/dev/null".to_owned());
            }
            runs.map(|run| trial(run, settings.clone())).collect()
        }
        None => as_allowed(&settings),
    };
    Ok(libtest_mimic::run(&args.test, trials).exit_code())
}

/// Every run, ignored unless this machine allows it, and the checks of the cases themselves.
fn as_allowed(settings: &Settings) -> Vec<Trial> {
    let machine = Machine::native();
    let reason = allowed::refusal();
    let is_ignored = |run: Run| {
        reason.is_some()
            || !run.is_planned(machine, Depth::Usual)
            || !run.case.programs.iter().all(|name| is_there(name))
    };
    let checks = CHECKS.iter().map(|(name, check)| {
        Trial::test(*name, || {
            check();
            Ok(())
        })
    });
    let runs =
        plan::all().map(|run| trial(run, settings.clone()).with_ignored_flag(is_ignored(run)));
    let trials = checks.chain(runs).collect();
    if let Some(reason) = reason {
        eprintln!("every case is ignored: {reason}");
    }
    trials
}

fn is_there(program: &str) -> bool {
    command::find(program).is_some()
}

/// Prints the runs that the arguments select, each with the programs that it needs.
fn print_plan(runs: impl Iterator<Item = Run>, arguments: &Arguments) {
    for run in runs {
        let name = run.to_string();
        // The filters look at the name alone.
        if !arguments.is_filtered_out(&Trial::test(&name, || Ok(()))) {
            println!("{}", [&[&*name], run.case.programs].concat().join(" "));
        }
    }
}

fn trial(run: Run, settings: Settings) -> Trial {
    Trial::test(run.to_string(), move || {
        let outcome = run_one(run, &settings)?;
        if settings.prints_outcomes {
            println!("{}", outcome.line());
        } else if settings.verbose {
            eprintln!("{outcome}");
        }
        if outcome.passed {
            Ok(())
        } else {
            Err(Failed::from(outcome.details))
        }
    })
}

/// Runs one case and returns its outcome.
fn run_one(run: Run, settings: &Settings) -> Result<Outcome> {
    let start = Instant::now();
    let context = Context {
        conn_cli: settings.conn_cli.clone(),
        hook: run.hook,
        port: settings.port.map_or_else(free_port, Ok)?,
        as_user: None,
        hidden: None,
        btf: None,
        old_version: None,
        verbose: settings.verbose,
    };
    let result = run_until_passed(run, &context);
    let seconds = start.elapsed().as_secs_f64();
    let (passed, details) = match result {
        Ok(details) => (true, details),
        Err(error) => (false, format!("{error:#}")),
    };
    Ok(Outcome {
        name: run.to_string(),
        passed,
        details: format!("{details} ({seconds:.1} s)"),
    })
}

/// How often a case may run that fails for another reason than conn-cli.
const ATTEMPTS: usize = 3;

/// In the error of a case that could not set up what it is about, such as a server that is overloaded.
const AT_FAULT: &str = "the test is at fault";

/// Runs a case once; again if it could not set up what it is about, and with the tracepoint if it fails,
/// because the kernel may skip the program (docs/hooks.md, Limitations), too seldom to make most cases fail
/// three times in a row. What conn-cli itself says is missing is no failure. The outcome has all of it.
fn run_until_passed(run: Run, context: &Context) -> Result<String> {
    let mut failures = Vec::new();
    while failures.len() < ATTEMPTS {
        match run.case.run(context) {
            Ok(details) => return Ok([vec![details], failures].concat().join(", after ")),
            Err(error) if run.hook == Hook::Tracepoint && are_told(&error) => {
                return Ok(format!("conn-cli says so: {error:#}"));
            }
            Err(error) => {
                let failure = format!("{error:#}");
                if run.hook != Hook::Tracepoint && !failure.contains(AT_FAULT) {
                    return Err(error);
                }
                failures.push(failure);
            }
        }
    }
    bail!("{}", failures.join(", and again "))
}

/// Whether conn-cli says that as many connections may be missing as are.
fn are_told(error: &anyhow::Error) -> bool {
    error
        .downcast_ref()
        .is_some_and(MissingConnections::are_told)
}

/// A port without a listener, in either family.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}
