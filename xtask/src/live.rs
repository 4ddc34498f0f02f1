//! The test program `live`, which has the cases: builds it, and asks it what it would run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use lab::machine::Machine;
use lab::{command, workspace};

/// Cargo's arguments that build the program, as `cargo test` does.
pub(crate) const BUILD: [&str; 6] = [
    "test",
    "--package",
    "conn-cli",
    "--test",
    "live",
    "--no-run",
];

/// The program, with the arguments that it gets wherever it runs.
pub(crate) struct Live {
    pub(crate) program: PathBuf,
    /// From the command line, after `--`.
    arguments: Vec<String>,
}

/// A case with one of its hooks, on a machine.
pub(crate) struct Planned {
    pub(crate) name: String,
    /// The programs that it needs beside conn-cli.
    programs: Vec<String>,
}

impl Live {
    /// Builds the program for this machine.
    pub(crate) fn build(arguments: Vec<String>) -> Result<Self> {
        Ok(Self {
            program: workspace::build("live", &BUILD)?,
            arguments,
        })
    }

    /// The arguments with which it runs on a machine.
    pub(crate) fn arguments(&self, machine: Machine, conn_cli: &Path) -> Result<Vec<String>> {
        let conn_cli = conn_cli
            .to_str()
            .context("the path of conn-cli is not UTF-8")?;
        let mut arguments: Vec<_> = ["--machine", &machine.to_string(), "--conn-cli", conn_cli]
            .map(str::to_owned)
            .into();
        arguments.extend_from_slice(&self.arguments);
        Ok(arguments)
    }

    /// What it would run on a machine.
    pub(crate) fn plan(&self, machine: Machine) -> Result<Vec<Planned>> {
        let mut live = Command::new(&self.program);
        live.args(["--machine", &machine.to_string(), "--plan"]);
        let plan = command::output(live.args(&self.arguments))?;
        plan.lines()
            .map(|line| {
                let mut words = line.split(' ').map(str::to_owned);
                let name = words.next().context("the plan has an empty line")?;
                let programs = words.collect();
                Ok(Planned { name, programs })
            })
            .collect()
    }
}

/// The names of these cases.
pub(crate) fn names(planned: &[Planned]) -> Vec<String> {
    planned.iter().map(|case| case.name.clone()).collect()
}

/// The programs that they need, each once.
pub(crate) fn programs<'a>(planned: impl IntoIterator<Item = &'a Planned>) -> Vec<&'a str> {
    let mut programs: Vec<_> = planned
        .into_iter()
        .flat_map(|case| case.programs.iter().map(String::as_str))
        .collect();
    programs.sort_unstable();
    programs.dedup();
    programs
}
