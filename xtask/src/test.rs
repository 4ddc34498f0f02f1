//! `cargo xtask test`: runs all tests with one command.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use lab::packages::{self, Install};
use lab::{command, workspace};

use crate::{aarch64, fleet, native, vm};

/// Run all tests: of the crates and eBPF objects, on this machine, in guests, with damaged input
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also run what is too heavy to run for each change: more cases, those on aarch64, `bench scale --short`, and `deploy`
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Args, install: Install) -> Result<()> {
    let mut unit_tests = workspace::cargo();
    // The parts below run the cases, with the conn-cli that is released.
    unit_tests
        .args(["test", "--workspace"])
        .env("LIVE_CASES", "ignore");
    let mut objects = xtask(install)?;
    objects.args(["ebpf", "--check"]);

    let mut report = Report::default();
    report.part("unit tests", || {
        packages::require(&RECIPE_PROGRAMS, install)?;
        command::run(&mut unit_tests)
    });
    report.part("eBPF objects", || command::run(&mut objects));
    let mut built = None;
    report.part("build of conn-cli", || {
        built = Some(workspace::build_conn_cli()?);
        Ok(())
    });
    let conn_cli = || {
        let built = built.clone();
        built.context("did not run: there is no conn-cli to test")
    };
    report.part("build for aarch64", || {
        aarch64::check(&aarch64::Toolchain::obtain()?.build_conn_cli()?)
    });
    report.part("native", || {
        native::run(&native::Args::every_case(conn_cli()?), install)
    });
    report.part("fleet", || {
        fleet::run(&fleet::Args::with(conn_cli()?, args.all), install)
    });
    report.part("vm", || {
        vm::run(&vm::Args::every_case(conn_cli()?, args.all), install)
    });
    if args.all {
        report.part("growth", || {
            command::run(xtask(install)?.args(["bench", "scale", "--short"]))
        });
        report.part("deployment", || {
            let conn_cli = conn_cli()?;
            command::run(xtask(install)?.args(["deploy", "--conn-cli"]).arg(conn_cli))
        });
    }
    report.part("fuzz", || {
        command::run(xtask(install)?.args(["fuzz", "--seconds", FUZZ_SECONDS, "--seed", "1"]))
    });
    report.finish()
}

/// For each target: enough to show that it works, and to find what is easily found. The seed is
/// fixed, so that the test does not find on one day what it misses on another.
const FUZZ_SECONDS: &str = "5";

/// What the recipes of the documents run, beside what every machine has.
const RECIPE_PROGRAMS: [&str; 2] = ["bash", "jq"];

/// A command that runs this xtask.
fn xtask(install: Install) -> Result<Command> {
    let mut xtask = Command::new(std::env::current_exe()?);
    xtask.args(install.option());
    Ok(xtask)
}

/// How each part ended and how long it took.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    failed: bool,
}

impl Report {
    /// Runs a part; the next ones run even if it fails.
    fn part(&mut self, name: &str, run: impl FnOnce() -> Result<()>) {
        println!("--- {name}");
        let start = Instant::now();
        let result = run();
        let seconds = start.elapsed().as_secs_f64();
        self.failed |= result.is_err();
        self.lines.push(match result {
            Ok(()) => format!("{name}: ok ({seconds:.0} s)"),
            Err(error) => format!("{name}: FAILED ({seconds:.0} s): {error:#}"),
        });
    }

    fn finish(&self) -> Result<()> {
        println!("---\n{}", self.lines.join("\n"));
        if self.failed {
            bail!("not all tests passed");
        }
        Ok(())
    }
}
