//! `cargo xtask bench`: builds and runs the crate that measures, which no other command needs.

use std::ffi::OsString;

use anyhow::Result;
use lab::packages::Install;
use lab::{command, workspace};

/// Compare conn-cli with the programs that are used instead of it; `bench --help` says how
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// What to measure, and how
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args, install: Install) -> Result<()> {
    let mut bench = workspace::cargo();
    bench.args(["run", "--quiet", "--package", "lab-bench", "--"]);
    command::run(bench.args(install.option()).args(&args.arguments))
}
